#include "cpu/sad.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/simd.h"

namespace patchgate {
namespace {

constexpr int kGroup = 8;  // columns summed at once

// sums[x] = sum over `rows` of |a - b| for kLanes columns. At most 256 rows: 256 * 255 fits 16 bits.
template <int kLanes>
inline __attribute__((always_inline)) void lane_sums(const uint8_t* a, const uint8_t* b,
                                                     int64_t stride, int rows, uint16_t* sums) {
  uint16_t partial[kLanes] = {};
  for (int y = 0; y < rows; ++y)
    for (int i = 0; i < kLanes; ++i) {
      const uint8_t p = a[y * stride + i], q = b[y * stride + i];
      partial[i] += static_cast<uint8_t>((p > q ? p : q) - (p > q ? q : p));
    }
  std::memcpy(sums, partial, sizeof partial);
}

// Any number of columns: the last lanes overlap the ones before, so that no read leaves a row.
template <int kLanes>
inline __attribute__((always_inline)) void overlapping_sums(const uint8_t* a, const uint8_t* b,
                                                            int64_t stride, int rows,
                                                            int64_t width, uint16_t* sums) {
  int64_t x = 0;
  for (; x + kLanes < width; x += kLanes) lane_sums<kLanes>(a + x, b + x, stride, rows, sums + x);
  x = width - kLanes;
  lane_sums<kLanes>(a + x, b + x, stride, rows, sums + x);
}

PG_SIMD_CLONES void column_sums(const uint8_t* a, const uint8_t* b, int64_t stride, int rows,
                                int64_t width, uint16_t* sums) {
  if (width >= 64)
    overlapping_sums<64>(a, b, stride, rows, width, sums);
  else if (width >= 8)
    overlapping_sums<8>(a, b, stride, rows, width, sums);
  else
    overlapping_sums<1>(a, b, stride, rows, width, sums);
}

// Totals of `groups` neighbouring runs of `size` columns: total[g] = sums[g * size] + ...
// `sums` is readable for kGroup columns past its end.
PG_SIMD_CLONES void group_totals(const uint16_t* sums, int size, int64_t groups, int32_t* total) {
  // Eight columns at once, those past the run switched off. 128 rows of 255 fit signed 16 bits.
  int16_t on[kGroup];
  for (int i = 0; i < kGroup; ++i) on[i] = i < size;
  for (int64_t g = 0; g < groups; ++g, sums += size) {
    int32_t sum = 0;
    for (int i = 0; i < kGroup; ++i) sum += static_cast<int16_t>(sums[i]) * on[i];
    total[g] = sum;
  }
}

void wide_group_totals(const uint16_t* sums, int size, int64_t groups, int32_t* total) {
  for (int64_t g = 0; g < groups; ++g, sums += size) {
    total[g] = 0;
    for (int i = 0; i < size; ++i) total[g] += sums[i];
  }
}

// SADs of one row of sub-blocks: total[i], i < width / sub_block.
void sub_block_sads(const uint8_t* a, const uint8_t* b, int64_t stride, int sub_block,
                    int64_t width, int32_t* total) {
  thread_local std::vector<uint16_t> sums;
  if (static_cast<int64_t>(sums.size()) < width + kGroup) sums.resize(width + kGroup);
  column_sums(a, b, stride, sub_block, width, sums.data());
  const int64_t groups = width / sub_block;
  if (sub_block <= kGroup)
    group_totals(sums.data(), sub_block, groups, total);
  else
    wide_group_totals(sums.data(), sub_block, groups, total);
}

// Compiled for the usual cell and sub-block as well as for any: the loops then unroll.
template <int kCell, int kSubBlock>
inline __attribute__((always_inline)) Difference difference_of(const uint8_t* a, const uint8_t* b,
                                                               int64_t stride, int any_cell,
                                                               int any_sub_block) {
  const int cell = kCell ? kCell : any_cell, sub_block = kSubBlock ? kSubBlock : any_sub_block;
  Difference difference{0, 0};
  uint16_t sums[256 + kGroup] = {};
  for (int y = 0; y < cell; y += sub_block) {
    if (cell >= 8)
      overlapping_sums<8>(a + y * stride, b + y * stride, stride, sub_block, cell, sums);
    else
      overlapping_sums<1>(a + y * stride, b + y * stride, stride, sub_block, cell, sums);
    for (int x = 0; x < cell; x += sub_block) {
      int32_t total = 0;
      if (kSubBlock && kSubBlock <= kGroup)  // a whole vector, the columns past the block off
        for (int i = 0; i < kGroup; ++i)
          total += static_cast<int16_t>(sums[x + i]) * static_cast<int16_t>(i < kSubBlock);
      else
        for (int i = 0; i < sub_block; ++i) total += sums[x + i];
      difference.largest = std::max(difference.largest, total);
      difference.sum += total;
    }
  }
  return difference;
}

}  // namespace

PG_SIMD_CLONES Difference cell_difference(const uint8_t* a, const uint8_t* b, int64_t stride,
                                          int cell, int sub_block) {
  if (cell == 14 && sub_block == 7) return difference_of<14, 7>(a, b, stride, 14, 7);
  if (cell == 16 && sub_block == 8) return difference_of<16, 8>(a, b, stride, 16, 8);
  return difference_of<0, 0>(a, b, stride, cell, sub_block);
}

void row_costs(const uint8_t* a, const uint8_t* b, int64_t stride, int64_t w, int cell,
               int sub_block, int32_t* cost) {
  const int per_cell = cell / sub_block;
  thread_local std::vector<int32_t> total;
  total.resize(w * per_cell);
  for (int y = 0; y < cell; y += sub_block) {
    sub_block_sads(a + y * stride, b + y * stride, stride, sub_block, w * cell, total.data());
    const int32_t* sad = total.data();
    for (int64_t c = 0; c < w; ++c)
      for (int k = 0; k < per_cell; ++k) cost[c] = std::max(cost[c], *sad++);
  }
}

}  // namespace patchgate
