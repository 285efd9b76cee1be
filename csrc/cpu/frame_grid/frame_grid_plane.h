// The frame grid of one plane on the CPU: bands of output rows over a ring of row pairs that stays
// in the first-level cache. Knows no torch, so that tests can run it at every level of
// instructions.
#pragma once

#include <type_traits>

#include "cpu/frame_grid/frame_grid_avx2.h"
#include "cpu/frame_grid/frame_grid_avx512.h"
#include "cpu/frame_grid/frame_grid_rows.h"
#include "cpu/simd.h"

namespace patchgate {

// What a table must satisfy for the loops to stay inside the plane and inside 16 bits.
inline bool valid_taps(TapTable table, int64_t in) {
  for (int64_t i = 0; i < table.out; ++i) {
    const int32_t* taps = table.row(i);
    if (taps[0] == -1) continue;
    if (taps[0] < 0 || taps[0] + table.count > in) return false;
    int64_t sum = 0;
    for (int64_t k = 1; k <= table.count; ++k) {
      if (taps[k] < 0) return false;
      sum += taps[k];
    }
    if (sum != kTapOne) return false;
  }
  return true;
}

PG_SIMD_CLONES inline void row_to_8bit(const uint16_t* row, int64_t width, int bit_depth,
                                       uint8_t* out) {
  for (int64_t x = 0; x < width; ++x) out[x] = static_cast<uint8_t>(to_8bit(row[x], bit_depth));
}

enum class RowLevel { kPortable, kAvx2, kAvx512 };

inline RowLevel best_row_level() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni")) {
    return RowLevel::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return RowLevel::kAvx2;
#endif
  return RowLevel::kPortable;
}

// The passes of a level, and the taps in their layout.
inline RowPasses row_passes(ColumnTaps& taps, int64_t in_width, RowLevel level) {
#ifdef __x86_64__
  RowPasses passes;
  if (level == RowLevel::kAvx512 && avx512::passes(taps, in_width, passes)) return passes;
  if (level != RowLevel::kPortable) return avx2::passes(taps, in_width);
#endif
  static_cast<void>(taps), static_cast<void>(in_width), static_cast<void>(level);
  return portable::passes();
}

struct PlaneGrid {
  ColumnTaps columns;
  RowTaps rows;
  int64_t in_height, in_width;
  int bit_depth;
  Levels levels;
  RowPasses passes;

  PlaneGrid(TapTable table_x, TapTable table_y, int64_t in_height, int64_t in_width, int bit_depth,
            Levels levels, RowLevel level)
      : columns(table_x),
        rows(table_y),
        in_height(in_height),
        in_width(in_width),
        bit_depth(bit_depth),
        levels(levels),
        passes(row_passes(columns, in_width, level)) {}

  // Output rows [begin, end) of the plane.
  template <typename Sample>
  void band(const Sample* plane, int64_t row_stride,  // [H', W']
            uint8_t* out,                             // [H, W]
            int64_t begin, int64_t end) const {
    const int64_t width = columns.table.out;
    std::vector<uint32_t> ring(rows.pairs * columns.padded);
    std::vector<uint8_t> copies(2 * std::max(in_width, columns.reach));
    std::vector<const uint32_t*> window(rows.pairs);
    int64_t low = 0, high = 0;  // pairs [low, high) are in the ring, pair p in slot p % rows.pairs
    for (int64_t y = begin; y < end; ++y) {
      uint8_t* out_row = out + y * width;
      if (rows.first[y] < 0) {
        std::fill_n(out_row, width, static_cast<uint8_t>(levels.black));
        continue;
      }
      const int64_t first = rows.first[y], stop = first + rows.count[y];
      if (first < low || first > high) low = high = first;
      for (; high < stop; ++high) {
        uint32_t* pair = ring.data() + high % rows.pairs * columns.padded;
        const int64_t even = 2 * high, odd = std::min(even + 1, in_height - 1);
        passes.horizontal(as_8bit(plane + even * row_stride, copies.data()),
                          as_8bit(plane + odd * row_stride, copies.data() + copies.size() / 2),
                          columns, pair);
      }
      low = std::max(low, high - rows.pairs);
      for (int64_t p = first; p < stop; ++p) {
        window[p - first] = ring.data() + p % rows.pairs * columns.padded;
      }
      passes.vertical(window.data(), rows.weights.data() + y * rows.pairs, stop - first, levels,
                      out_row, width);
      for (const int32_t x : columns.outside) out_row[x] = static_cast<uint8_t>(levels.black);
    }
  }

 private:
  // The row itself where it is 8 bit and long enough to be read in whole chunks, else a copy.
  template <typename Sample>
  const uint8_t* as_8bit(const Sample* row, uint8_t* copy) const {
    if constexpr (std::is_same_v<Sample, uint8_t>) {
      if (in_width >= columns.reach) return row;
      std::copy_n(row, in_width, copy);
    } else {
      row_to_8bit(row, in_width, bit_depth, copy);
    }
    return copy;
  }
};

}  // namespace patchgate
