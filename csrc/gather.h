// The gather's arithmetic, in integers and the same on every back end: decoded planes become RGB
// u8 at native resolution, and a separable filter with 22-bit taps brings them to the encoder's
// size, rounded and clamped to u8 after each pass: what Pillow does, bit for bit. Which pass comes
// first matters by up to 20 levels, because of the clamp between them.
//
// A tap table is [out, 1 + count] int32: the first input sample and `count` weights of either sign
// that sum to about kFilterOne; a first sample of -1 puts the output outside the picture: 0.
#pragma once

#include "frame_grid.h"

namespace patchgate {

inline constexpr int kFilterBits = 22;
inline constexpr int32_t kFilterOne = 1 << kFilterBits;
// The magnitudes of an output's weights sum to at most this: 255 times it fits 31 bits, and a
// single weight fits three digits of 8 bits.
inline constexpr int64_t kFilterLimit = int64_t{15} << (kFilterBits - 3);  // 1.875

PG_HOST_DEVICE uint8_t clamp_u8(int32_t value) {
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

PG_HOST_DEVICE uint8_t round_filter(int32_t sum) {
  return clamp_u8((sum + kFilterOne / 2) >> kFilterBits);
}

// ---- colour

// RGB = clamp((luma * Y + offset + factors * chroma) >> kColourBits), chroma in 64ths around
// mid-grey. `offset` holds the range's black and the rounding half up.
inline constexpr int kColourBits = 19;
inline constexpr int kChromaBits = 6;
inline constexpr int32_t kChromaMid = 128 << kChromaBits;

struct ColourMatrix {
  int32_t luma, offset, red_cr, green_cb, green_cr, blue_cb;
};

// Luma samples per chroma sample along an axis: 1, 2 or 4; 0 where the two do not belong together.
// A single sample stands for everything (gray video).
PG_HOST_DEVICE int chroma_step(int64_t luma, int64_t chroma) {
  for (int step = 1; step <= 4; step *= 2) {
    if (chroma == (luma + step - 1) / step) return step;
  }
  return chroma == 1 ? 4 : 0;
}

// A place between two chroma samples, clamped to the plane.
struct ChromaPlace {
  int64_t first, second;
  int32_t fraction;  // of the second
};

PG_HOST_DEVICE ChromaPlace chroma_place(int64_t position, int bits, int64_t samples) {
  const int64_t first = position >> bits, last = samples - 1;
  const int64_t second = first + 1;
  return {first < 0      ? 0
          : first > last ? last
                         : first,
          second > last ? last : second, static_cast<int32_t>(position & ((1 << bits) - 1))};
}

// Across, chroma sits on the left one of its luma samples (MPEG-2): in quarters.
PG_HOST_DEVICE ChromaPlace chroma_across(int64_t x, int step, int64_t samples) {
  return chroma_place(4 * x / step, 2, samples);
}

// Down, it sits in the middle of them: in sixteenths.
PG_HOST_DEVICE ChromaPlace chroma_down(int64_t y, int step, int64_t samples) {
  return chroma_place((16 * y + 8) / step - 8, 4, samples);
}

struct Rgb {
  uint8_t channel[3];
};

PG_HOST_DEVICE Rgb to_rgb(int32_t y, int32_t cb, int32_t cr, const ColourMatrix& m) {
  const int32_t luma = m.luma * y + m.offset;
  return {{clamp_u8((luma + m.red_cr * cr) >> kColourBits),
           clamp_u8((luma + m.green_cb * cb + m.green_cr * cr) >> kColourBits),
           clamp_u8((luma + m.blue_cb * cb) >> kColourBits)}};
}

// ---- one frame

// Y, Cb, Cr, or R, G, B where `matrix` is null.
template <typename Sample>
struct Picture {
  const Sample* plane[3];
  int64_t stride[3];  // samples from one row to the next
  int64_t height, width, chroma_height, chroma_width;
  int bit_depth;
  const ColourMatrix* matrix;
};

template <typename Sample>
PG_HOST_DEVICE int32_t picture_chroma(const Picture<Sample>& picture, int c, ChromaPlace down,
                                      ChromaPlace across) {
  const Sample* upper = picture.plane[c] + down.first * picture.stride[c];
  const Sample* lower = picture.plane[c] + down.second * picture.stride[c];
  const auto column = [&](int64_t x) {
    return (16 - down.fraction) * sample_8bit(upper[x], picture.bit_depth) +
           down.fraction * sample_8bit(lower[x], picture.bit_depth);
  };
  return (4 - across.fraction) * column(across.first) + across.fraction * column(across.second) -
         kChromaMid;
}

template <typename Sample>
PG_HOST_DEVICE Rgb picture_rgb(const Picture<Sample>& picture, int64_t y, int64_t x) {
  const auto sample = [&](int c) {
    return sample_8bit(picture.plane[c][y * picture.stride[c] + x], picture.bit_depth);
  };
  if (picture.matrix == nullptr) {
    return {{static_cast<uint8_t>(sample(0)), static_cast<uint8_t>(sample(1)),
             static_cast<uint8_t>(sample(2))}};
  }
  const int step_y = chroma_step(picture.height, picture.chroma_height);
  const int step_x = chroma_step(picture.width, picture.chroma_width);
  const ChromaPlace down = chroma_down(y, step_y, picture.chroma_height);
  const ChromaPlace across = chroma_across(x, step_x, picture.chroma_width);
  return to_rgb(sample(0), picture_chroma(picture, 1, down, across),
                picture_chroma(picture, 2, down, across), *picture.matrix);
}

// One output pixel: colour and both passes.
template <typename Sample>
PG_HOST_DEVICE Rgb gather_sample(const Picture<Sample>& picture, const int32_t* taps_x,
                                 int count_x,                         // [1 + count_x]
                                 const int32_t* taps_y, int count_y,  // [1 + count_y]
                                 bool vertical_first) {
  if (taps_x[0] < 0 || taps_y[0] < 0) return {{0, 0, 0}};
  const int32_t* inner = vertical_first ? taps_y : taps_x;
  const int32_t* outer = vertical_first ? taps_x : taps_y;
  const int inner_count = vertical_first ? count_y : count_x;
  const int outer_count = vertical_first ? count_x : count_y;
  int32_t sum[3] = {0, 0, 0};
  for (int j = 0; j < outer_count; ++j) {
    int32_t first_pass[3] = {0, 0, 0};
    for (int k = 0; k < inner_count; ++k) {
      const int64_t y = taps_y[0] + (vertical_first ? k : j);
      const int64_t x = taps_x[0] + (vertical_first ? j : k);
      const Rgb rgb = picture_rgb(picture, y, x);
      for (int c = 0; c < 3; ++c) first_pass[c] += inner[1 + k] * rgb.channel[c];
    }
    for (int c = 0; c < 3; ++c) sum[c] += outer[1 + j] * round_filter(first_pass[c]);
  }
  return {{round_filter(sum[0]), round_filter(sum[1]), round_filter(sum[2])}};
}

}  // namespace patchgate
