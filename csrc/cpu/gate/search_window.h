// The motion search of one cell, in a copy of its surroundings.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/gate/sad.h"
#include "gate.h"

namespace patchgate {

// A luma block and the part of the reference that its search may touch, copied into rows of whole
// vectors: the search then never reads past a row, and stays in the first-level cache.
class SearchWindow {
 public:
  SearchWindow(int cell, int radius);

  // Copies the cell at (y, x) of `now` and its surroundings in `then`, both [frames, H, W] with
  // `frame_stride` bytes from one frame to the next.
  void load(const uint8_t* now, const uint8_t* then, int frames, int64_t frame_stride, int y, int x,
            int height, int width);

  // The candidate of least objective: SAD over all frames plus the vector's price. An objective of
  // kUntested says that there was no candidate.
  Match best(SadPath path = SadPath::kFastest) const;

 private:
  struct Candidate {
    Vector vector;
    int32_t price;
    int32_t offset;  // of its block in `then_`
  };

  void add_candidate(Vector v);
  // `Sad` is called with a block of `then_`; it may stop at the first partial sum >= enough.
  template <class Sad>
  Match best_by(Sad&& sad) const;
  Match best_avx2() const;

  int cell_, radius_, columns_, stride_, rows_, frames_ = 0;
  int top_ = 0, bottom_ = 0, left_ = 0, right_ = 0;  // legal vectors, inclusive
  std::vector<Candidate> candidates_;                // in the order in which ties are won
  std::vector<uint8_t> now_, then_, mask_;
};

}  // namespace patchgate
