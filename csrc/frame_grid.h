// The frame grid's arithmetic, in integers and the same on every back end: a plane is resized with
// a separable filter whose 14-bit taps come from a table, then brought to full range.
//
// A tap table is [out, 1 + count] int32: the first input sample and `count` weights that are not
// negative and sum to kTapOne; a first sample of -1 puts the output outside the picture.
#pragma once

#include "portable.h"

namespace patchgate {

inline constexpr int kTapBits = 14;
inline constexpr int32_t kTapOne = 1 << kTapBits;

// From the decoder's range to full range, clamp((value * scale + offset) >> 16), and what stands
// outside the picture.
struct Levels {
  int32_t scale;
  int32_t offset;
  int32_t black;
};

PG_HOST_DEVICE Levels grid_levels(bool chroma, bool full_range) {
  if (full_range) return {1 << 16, 0, chroma ? 128 : 0};
  // 255 / 219 and 255 / 224 in 16 bits, each equal to exact rounding half up for all 256 values.
  // For chroma that is 74605, not the nearest integer 74606: at value 16 the exact result is a tie.
  if (chroma) return {74605, 32768 - 128 * 74605 + (128 << 16), 128};
  return {76309, 32768 - 16 * 76309, 0};
}

PG_HOST_DEVICE uint8_t apply_levels(int32_t value, Levels levels) {
  const int32_t out = (value * levels.scale + levels.offset) >> 16;
  return static_cast<uint8_t>(out < 0 ? 0 : out > 255 ? 255 : out);
}

PG_HOST_DEVICE int32_t to_8bit(int32_t value, int bit_depth) {
  if (bit_depth == 8) return value;
  const int32_t rounded = (value + (1 << (bit_depth - 9))) >> (bit_depth - 8);
  return rounded < 255 ? rounded : 255;
}

// A weighted sum of u8 samples back to u8: rounding half up, no clamp needed.
PG_HOST_DEVICE int32_t round_taps(int32_t sum) { return (sum + kTapOne / 2) >> kTapBits; }

template <typename Sample>
PG_HOST_DEVICE int32_t sample_8bit(Sample value, int bit_depth) {
  return sizeof(Sample) == 1 ? value : to_8bit(value, bit_depth);
}

// A row of a tap table.
struct Taps {
  int32_t first;           // input sample; negative: outside the picture
  const int32_t* weights;  // [count]
  int count;
};

// The horizontal pass: one output sample of one input row, whose samples lie `step` apart.
template <typename Sample>
PG_HOST_DEVICE int32_t grid_row_sample(const Sample* row /* [W'] */, Taps taps, int bit_depth,
                                       int64_t step = 1) {
  int32_t sum = 0;
  for (int k = 0; k < taps.count; ++k)
    sum += taps.weights[k] * sample_8bit(row[(taps.first + k) * step], bit_depth);
  return round_taps(sum);
}

// One output sample: both passes and the range.
template <typename Sample>
PG_HOST_DEVICE uint8_t grid_sample(const Sample* plane, int64_t row_stride,  // [H', W']
                                   Taps across, Taps down, int bit_depth, Levels levels,
                                   int64_t step = 1) {
  if (across.first < 0 || down.first < 0) return static_cast<uint8_t>(levels.black);
  int32_t sum = 0;
  for (int k = 0; k < down.count; ++k) {
    if (down.weights[k] == 0) continue;  // padding of the table: a whole row of work
    const Sample* row = plane + (down.first + k) * row_stride;
    sum += down.weights[k] * grid_row_sample(row, across, bit_depth, step);
  }
  return apply_levels(round_taps(sum), levels);
}

}  // namespace patchgate
