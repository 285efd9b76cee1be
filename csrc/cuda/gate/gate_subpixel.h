// Blocks of the reference between its pixels, each by a warp:
// python/patchgate/reference/subpixel.py's. Some rows at a time, with what lies around them, are
// copied into the warp's shared memory, filtered downwards there, and across from there.
#pragma once

#include "cuda/gate/gate_cell.h"
#include "cuda/gate/six_taps.h"

namespace patchgate {

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

// Four pixels of a row from x on. Beyond its ends it repeats its last pixel.
__device__ __forceinline__ uint32_t four_pixels(const uint8_t* row, int x, int width) {
  if (x >= 0 && x + 4 <= width) return RowReader(row + x, 4).next();
  return packed(row[clamped(x, width)], row[clamped(x + 1, width)], row[clamped(x + 2, width)],
                row[clamped(x + 3, width)]);
}

// A warp's shared memory while it filters rows of blocks.
template <int kCell>
struct FilterTile {
  const GatePlan& g;
  int p, words, most;  // side of a block; words of a row; rows that fit
  uint32_t* around;    // [most + 6, words] of the reference, from two above and two left on
  uint32_t* rows;      // [most, words] filtered downwards

  __device__ __forceinline__ FilterTile(const GatePlan& plan, uint8_t* warps) : g(plan) {
    p = kCell ? kCell : g.cell, words = filter_words(p);
    most = (g.warp_words / words - kFilterMargin) / 2;
    around = reinterpret_cast<uint32_t*>(warp_memory(g, warps));
    rows = around + (most + kFilterMargin) * words;
  }

  __device__ __forceinline__ int rows_from(int y) const { return p - y < most ? p - y : most; }

  // What `count` rows at (top, left) of a plane and the next ones are filtered from.
  __device__ __forceinline__ void load(const uint8_t* plane, int top, int left, int count) {
    for (int i = lane(); i < (count + kFilterMargin) * words; i += kWarp) {
      const int y = clamped(top - 2 + i / words, g.height);
      around[i] = four_pixels(plane + int64_t{y} * g.width, left - 2 + i % words * 4, g.width);
    }
    __syncwarp();
  }

  // The rows so many quarters below the loaded ones (below those one further down: `further`).
  __device__ __forceinline__ void down(int further, int quarters, int count) {
    __syncwarp();  // what was there has been read
    for (int i = lane(); i < count * words; i += kWarp) {
      const uint32_t* row = around + further * words + i;
      const uint32_t half = quarters == 0 ? 0 : halves_down(row, words);
      rows[i] = quarter_samples(row[2 * words], half, row[3 * words], quarters);
    }
    __syncwarp();
  }

  // Calls take(y, k, samples) for the words of the filtered rows.
  template <class Take>
  __device__ __forceinline__ void across(int count, Take&& take) const {
    const int each = (p + 3) / 4;
    for (int i = lane(); i < count * each; i += kWarp)
      take(i / each, i % each, SamplesAcross(rows + i / each * words + i % each));
  }
};

// What the reference has for a cell at a vector, all planes, put by at the cell's own place.
template <int kCell>
__device__ __forceinline__ void put_by(const GatePlan& g, uint8_t* warps, int s, int n, Vector v) {
  FilterTile<kCell> tile(g, warps);
  const Place top = place_of(g, g.top(n), v.dy), left = place_of(g, g.left(n), v.dx);
  for (int plane = 0; plane < g.cell_planes; ++plane) {
    const uint8_t* from = g.picture(s) + plane * g.plane_bytes;
    for (int y = 0; y < tile.p; y += tile.most) {
      const int count = tile.rows_from(y);
      uint8_t* to = g.displaced(s, n) + plane * g.plane_bytes + int64_t{y} * g.width;
      tile.load(from, top.pixel + y, left.pixel, count);
      tile.down(0, top.quarters, count);
      tile.across(count, [&](int row, int k, const SamplesAcross& samples) {
        const uint32_t four = samples.at(0, left.quarters);
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (4 * k + i < tile.p)
            to[int64_t{row} * g.width + 4 * k + i] = static_cast<uint8_t>(four >> 8 * i);
      });
    }
  }
}

// Luma SADs of a cell at a vector and its eight neighbours at `step`, in raster order. Each lane
// adds up some words.
template <int kCell>
__device__ __forceinline__ void nine_sads(const GatePlan& g, uint8_t* warps, int s, int t, int n,
                                          Vector centre, int step, uint32_t (&sad)[3][3]) {
  FilterTile<kCell> tile(g, warps);
  Place top[3], left[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    top[i] = place_of(g, g.top(n), centre.dy + (i - 1) * step);
    left[i] = place_of(g, g.left(n), centre.dx + (i - 1) * step);
  }
  for (int f = 0; f < g.tubelet; ++f)
    for (int y = 0; y < tile.p; y += tile.most) {
      const int64_t at = f * g.colours * g.plane_bytes;
      const int count = tile.rows_from(y);
      const uint8_t* now = g.frame(s, t) + at + g.offset(n) + int64_t{y} * g.width;
      tile.load(g.picture(s) + at, top[0].pixel + y, left[0].pixel, count);
#pragma unroll
      for (int j = 0; j < 3; ++j) {
        tile.down(top[j].pixel - top[0].pixel, top[j].quarters, count);
        tile.across(count, [&](int row, int k, const SamplesAcross& samples) {
          const uint32_t keep = keep_mask(tile.p, k);
          const uint8_t* mine = now + int64_t{row} * g.width + 4 * k;
          const uint32_t four = RowReader(mine, tile.p - 4 * k).next() & keep;
#pragma unroll
          for (int i = 0; i < 3; ++i)
            sad[j][i] =
                sad4(four, samples.at(left[i].pixel - left[0].pixel, left[i].quarters) & keep,
                     sad[j][i]);
        });
      }
    }
}

// The best of a vector and its eight neighbours at halves of a pixel, then, if the rules go as far,
// of that one and its neighbours at quarters. All lanes know it.
template <int kCell>
__device__ __forceinline__ Match refined(const GatePlan& g, uint8_t* warps, int s, int t, int n,
                                         Vector centre) {
  Match best{kUntested, centre};
  for (int step = g.precision / 2; step > 0; step /= 2) {
    uint32_t sad[3][3] = {}, mine = 0;
    nine_sads<kCell>(g, warps, s, t, n, best.vector, step, sad);
#pragma unroll
    for (int k = 0; k < 9; ++k) {
      const uint32_t sum = __reduce_add_sync(kAllLanes, sad[k / 3][k % 3]);
      if (lane() == k) mine = sum;
    }
    const int k = lane();
    const Vector v{best.vector.dy + (k / 3 - 1) * step, best.vector.dx + (k % 3 - 1) * step};
    const bool legal = k < 9 && g.is_candidate(n, v);
    const auto price = static_cast<uint32_t>(vector_price(g.cell, v, g.precision));
    best = least_match(legal ? mine + price : kUntested, legal ? tie_rank(v) : ~0u);
  }
  return best;
}

}  // namespace patchgate
