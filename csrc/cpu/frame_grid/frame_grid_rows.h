// The frame grid's two passes over rows, for the CPU. Both work on pairs of input rows: the
// horizontal pass leaves row 2p in the low and row 2p + 1 in the high half of a 32-bit word, which
// is what one multiply-add instruction of the vertical pass takes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "frame_grid.h"

namespace patchgate {

// Outputs of a row are padded to a multiple of this.
inline constexpr int64_t kBlock = 16;

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct TapTable {
  const int32_t* data;  // [out, 1 + count]
  int64_t out;
  int64_t count;
  const int32_t* row(int64_t i) const { return data + i * (1 + count); }
  Taps taps(int64_t i) const { return {row(i)[0], row(i) + 1, static_cast<int>(count)}; }
};

// Horizontal taps. What is below `outside` belongs to the vector code, each level in its own
// layout.
struct ColumnTaps {
  TapTable table;
  int64_t padded;                // outputs, rounded up to kBlock
  std::vector<int32_t> outside;  // columns beside the picture

  int64_t reach = 0;           // samples read at a time: shorter rows must be copied
  std::vector<int32_t> first;  // where reading begins
  std::vector<uint8_t> index;  // samples within what was read
  std::vector<int16_t> weights;

  explicit ColumnTaps(TapTable taps) : table(taps), padded(round_up(taps.out, kBlock)) {
    for (int64_t x = 0; x < table.out; ++x) {
      if (table.row(x)[0] < 0) outside.push_back(static_cast<int32_t>(x));
    }
  }
};

// Vertical taps by pairs of rows: the first pair and one word of two weights for each.
struct RowTaps {
  int64_t pairs;                  // that an output needs at most
  std::vector<int32_t> first;     // [out], -1 outside the picture
  std::vector<int32_t> count;     // [out]
  std::vector<uint32_t> weights;  // [out, pairs]

  explicit RowTaps(TapTable table)
      : pairs(table.count / 2 + 1), first(table.out), count(table.out), weights(table.out * pairs) {
    for (int64_t y = 0; y < table.out; ++y) {
      const int32_t* taps_y = table.row(y);
      first[y] = taps_y[0] >> 1;
      for (int64_t k = 0; k < table.count; ++k) {
        const int64_t row = (taps_y[0] & 1) + k;
        if (taps_y[1 + k] == 0) continue;
        weights[y * pairs + row / 2] |= static_cast<uint32_t>(taps_y[1 + k]) << (row % 2 * 16);
        count[y] = static_cast<int32_t>(row / 2 + 1);
      }
    }
  }
};

// The two passes at one level of instructions.
struct RowPasses {
  void (*horizontal)(const uint8_t* even, const uint8_t* odd,  // [max(W', reach)]
                     const ColumnTaps& taps, uint32_t* pair /* [padded] */);
  void (*vertical)(const uint32_t* const* pairs,  // [count][padded]
                   const uint32_t* weights,       // [count]
                   int64_t count, Levels levels, uint8_t* out /* [width] */, int64_t width);
};

namespace portable {

inline void horizontal(const uint8_t* even, const uint8_t* odd, const ColumnTaps& taps,
                       uint32_t* pair) {
  for (int64_t x = 0; x < taps.table.out; ++x) {
    const Taps column = taps.table.taps(x);
    if (column.first < 0) continue;
    pair[x] = static_cast<uint32_t>(grid_row_sample(even, column, 8)) |
              static_cast<uint32_t>(grid_row_sample(odd, column, 8)) << 16;
  }
}

inline void vertical(const uint32_t* const* pairs, const uint32_t* weights, int64_t count,
                     Levels levels, uint8_t* out, int64_t width) {
  int32_t sums[kBlock];
  for (int64_t x = 0; x < width; x += kBlock) {
    for (int32_t& sum : sums) sum = 0;
    for (int64_t p = 0; p < count; ++p) {
      const int32_t low = weights[p] & 0xffff, high = weights[p] >> 16;
      for (int64_t j = 0; j < kBlock; ++j) {
        const uint32_t two = pairs[p][x + j];
        sums[j] +=
            low * static_cast<int32_t>(two & 0xffff) + high * static_cast<int32_t>(two >> 16);
      }
    }
    for (int64_t j = 0; j < kBlock && x + j < width; ++j) {
      out[x + j] = apply_levels(round_taps(sums[j]), levels);
    }
  }
}

inline RowPasses passes() { return {horizontal, vertical}; }

}  // namespace portable
}  // namespace patchgate
