// Blocks of the reference between its pixels, each by a warp: python/patchgate/subpixel.py's. Some
// rows at a time are filtered downwards into the warp's shared memory, and from there across.
#pragma once

#include "cuda/gate_cell.h"

namespace patchgate {

// Samples of a row or column that six taps take in beside the place they are for.
constexpr int kTapsBefore = 2, kTapsAfter = 3;

// Where something lies along one dimension: pixels and quarters of the next.
struct Place {
  int pixel, quarters;
};

__device__ __forceinline__ Place place_of(const GatePlan& g, int pixel, int steps) {
  const int quarters = steps * (kQuarters / g.precision);
  return {pixel + (quarters >> 2), quarters & 3};
}

__device__ __forceinline__ int clamped(int at, int size) {
  return at < 0 ? 0 : at < size ? at : size - 1;
}

// [rows, columns] of a plane, so many quarters of a pixel below (top, left). Beyond its edges the
// picture repeats its last pixel.
__device__ __forceinline__ void filter_down(const GatePlan& g, const uint8_t* plane, int top,
                                            int quarters, int left, int rows, int columns,
                                            uint8_t* out) {
  for (int i = lane(); i < rows * columns; i += kWarp) {
    const int y = top + i / columns;
    const uint8_t* column = plane + clamped(left + i % columns, g.width);
    const auto at = [&](int k) { return column[int64_t{clamped(y + k, g.height)} * g.width]; };
    out[i] =
        quarters == 0
            ? at(0)
            : static_cast<uint8_t>(between(at(-2), at(-1), at(0), at(1), at(2), at(3), quarters));
  }
}

// The sample so many quarters behind `row[kTapsBefore]`.
__device__ __forceinline__ int filter_across(const uint8_t* row, int quarters) {
  if (quarters == 0) return row[kTapsBefore];
  return between(row[0], row[1], row[2], row[3], row[4], row[5], quarters);
}

// Calls take(y, x, row) for each pixel of a cell-sized block whose rows lie at `top`: `row` are the
// filtered samples from kTapsBefore ahead of column left + x on, `columns` of them from left on.
template <int kCell, class Take>
__device__ __forceinline__ void filtered_rows(const GatePlan& g, uint8_t* memory,
                                              const uint8_t* plane, Place top, int left,
                                              int columns, Take&& take) {
  const int p = kCell ? kCell : g.cell, most = 4 * g.warp_words / columns;
  for (int y = 0; y < p; y += most) {
    const int rows = p - y < most ? p - y : most;
    __syncwarp();  // what was there has been read
    filter_down(g, plane, top.pixel + y, top.quarters, left - kTapsBefore, rows, columns, memory);
    __syncwarp();
    for (int i = lane(); i < rows * p; i += kWarp)
      take(y + i / p, i % p, memory + i / p * columns + i % p);
  }
}

// What the reference has for a cell at a vector, all planes, put by at the cell's own place.
template <int kCell>
__device__ __forceinline__ void put_by(const GatePlan& g, uint8_t* warps, int s, int n, Vector v) {
  const int p = kCell ? kCell : g.cell;
  const Place top = place_of(g, g.top(n), v.dy), left = place_of(g, g.left(n), v.dx);
  for (int plane = 0; plane < g.cell_planes; ++plane) {
    const int64_t at = plane * g.plane_bytes;
    uint8_t* to = g.put_by(s, n) + at;
    filtered_rows<kCell>(g, warp_memory(g, warps), g.picture(s) + at, top, left.pixel,
                         p + kTapsBefore + kTapsAfter, [&](int y, int x, const uint8_t* row) {
                           to[int64_t{y} * g.width + x] =
                               static_cast<uint8_t>(filter_across(row, left.quarters));
                         });
  }
}

// Luma SADs of a cell at three vectors beside each other: at dx - step, dx and dx + step. Each lane
// adds up some pixels.
template <int kCell>
__device__ __forceinline__ void three_sads(const GatePlan& g, uint8_t* warps, int s, int t, int n,
                                           Vector v, int step, int32_t (&sad)[3]) {
  const int p = kCell ? kCell : g.cell;
  const Place top = place_of(g, g.top(n), v.dy);
  Place left[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    left[i] = place_of(g, g.left(n), v.dx + (i - 1) * step);
    sad[i] = 0;
  }
  for (int f = 0; f < g.tubelet; ++f) {
    const int64_t at = f * g.colours * g.plane_bytes;
    const uint8_t* now = g.frame(s, t) + at + g.offset(n);
    filtered_rows<kCell>(g, warp_memory(g, warps), g.picture(s) + at, top, left[0].pixel,
                         p + kTapsBefore + kTapsAfter + 1, [&](int y, int x, const uint8_t* row) {
                           const uint8_t mine = now[int64_t{y} * g.width + x];
#pragma unroll
                           for (int i = 0; i < 3; ++i) {
                             const uint8_t* from = row + (left[i].pixel - left[0].pixel);
                             const auto theirs =
                                 static_cast<uint8_t>(filter_across(from, left[i].quarters));
                             sad[i] += absolute_difference(mine, theirs);
                           }
                         });
  }
}

// The least of a match and its eight neighbours at halves of a pixel, then, if the rules go as far,
// of that and its neighbours at quarters. All lanes know it.
template <int kCell>
__device__ __forceinline__ Match refined(const GatePlan& g, uint8_t* warps, int s, int t, int n,
                                         Match best) {
  for (int step = g.precision / 2; step > 0; step /= 2) {
    const Vector centre = best.vector;
    for (int dy = -step; dy <= step; dy += step) {
      int32_t sad[3];
      three_sads<kCell>(g, warps, s, t, n, {centre.dy + dy, centre.dx}, step, sad);
#pragma unroll
      for (int i = 0; i < 3; ++i) {
        const Vector v{centre.dy + dy, centre.dx + (i - 1) * step};
        const Match found{
            __reduce_add_sync(kAllLanes, sad[i]) + vector_price(g.cell, v, g.precision), v};
        if (g.is_candidate(n, v) && better(found, best)) best = found;
      }
    }
  }
  return best;
}

}  // namespace patchgate
