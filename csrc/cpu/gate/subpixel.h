// Samples between the pixels of a picture, in a copy of a block's surroundings. The arithmetic is
// gate.h's `between`; python/patchgate/reference/subpixel.py is the definition.
#pragma once

#include <cstdint>
#include <vector>

#include "gate.h"

namespace patchgate {

// A block, in rows of `stride` bytes.
struct Block {
  const uint8_t* pixels;
  int64_t stride;
};

// Two blocks in the same rows, of which the rounded mean is meant.
struct Means {
  const uint8_t *a, *b;
};

// A square block of a picture with the margins that the filter takes in. Whole planes of samples
// are made of it, each at most once and only when they are asked for: all eight neighbours of a
// vector are put together from the same few.
class SubpixelWindow {
 public:
  static constexpr int kMargin = 3;  // pixels on each side

  // Copies the surroundings of the block at (y, x) pixels, inside of [frames, H, W] planes with
  // `frame_stride` bytes from one to the next.
  void load(const uint8_t* planes, int frames, int64_t frame_stride, int y, int x, int side,
            int height, int width);

  // The first frame's block at so many quarters (-3..3 each) from where it was loaded; further
  // frames follow every span() rows. Holds until the next call.
  Means at(Vector quarters);
  Block block(Vector quarters);

  int span() const { return span_; }  // bytes in a row, rows in a frame

 private:
  struct Plane {
    std::vector<uint8_t> samples;  // [frames * span, span]
    bool is_made = false;
  };

  const uint8_t* down(int quarters);    // moved vertically, from the window's first row and column
  const uint8_t* across(int quarters);  // between those and their right neighbours
  int64_t size() const { return int64_t{span_} * span_ * frames_; }
  uint8_t* fresh(Plane& plane);

  int span_ = 0, frames_ = 0, odd_ = 0;
  // Pixels; between them and those below; a quarter aside. Each, and between its columns.
  Plane whole_, half_, quarter_, whole_across_, half_across_, quarter_across_, mean_;
};

// Sum of absolute differences between `now` and the means, where `mask` is set (else it is 0).
int32_t sad_of_means(const uint8_t* now, const uint8_t* mask, Means then, int64_t count);

// The block of a plane [H, W] at a place in quarters of a pixel, all of it inside. Holds until this
// thread's next call.
Block block_between(const uint8_t* plane, int height, int width, Vector quarters, int side);

}  // namespace patchgate
