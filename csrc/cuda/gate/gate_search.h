// The motion search, a stage that only failed cells see. A warp takes one entry of the worklist
// after another.
#pragma once

#include "cuda/gate/gate_subpixel.h"

namespace patchgate {

__device__ __forceinline__ int first_warp() { return blockIdx.x * kGateWarps + warp(); }
__device__ __forceinline__ int all_warps() { return gridDim.x * kGateWarps; }

// A warp's copy of a cell and of the part of the reference that its search may touch, in rows of
// whole words. Only what legal vectors reach is filled in.
struct SearchTile {
  uint32_t* now;     // [f, p, now_words] zeros behind each row's end
  uint32_t* window;  // [f, p + 2 R, tile_words]

  __device__ __forceinline__ SearchTile(const GatePlan& g, uint8_t* memory) {
    now = reinterpret_cast<uint32_t*>(memory);
    window = now + g.tubelet * g.cell * g.now_words;
  }

  __device__ __forceinline__ void load(const GatePlan& g, int s, int t, int n) {
    const int64_t frame_bytes = g.colours * g.plane_bytes;
    const int top = g.top(n) - g.radius, left = g.left(n) - g.radius;
    auto* now_bytes = reinterpret_cast<uint8_t*>(now);
    auto* window_bytes = reinterpret_cast<uint8_t*>(window);
    const int now_stride = 4 * g.now_words, window_stride = 4 * g.tile_words;
    for (int i = lane(); i < g.tubelet * g.cell * now_stride; i += kWarp) {
      const int x = i % now_stride, y = i / now_stride % g.cell, f = i / now_stride / g.cell;
      const uint8_t* from = g.frame(s, t) + f * frame_bytes + g.offset(n) + int64_t{y} * g.width;
      now_bytes[i] = x < g.cell ? from[x] : 0;
    }
    for (int i = lane(); i < g.tubelet * g.reach * g.reach; i += kWarp) {
      const int x = i % g.reach, y = i / g.reach % g.reach, f = i / g.reach / g.reach;
      if (top + y < 0 || top + y >= g.height || left + x < 0 || left + x >= g.width) continue;
      window_bytes[(f * g.reach + y) * window_stride + x] =
          g.picture(s)[f * frame_bytes + int64_t{top + y} * g.width + left + x];
    }
    __syncwarp();
  }

  // SAD of the cell and the block whose corner lies at (y, x) of the window.
  template <int kCell>
  __device__ __forceinline__ int32_t sad(const GatePlan& g, int y, int x) const {
    const int p = kCell ? kCell : g.cell, words = (p + 3) / 4;
    uint32_t sum = 0;
    for (int f = 0; f < g.tubelet; ++f) {
      const uint32_t* mine = now + f * p * words;
      const uint32_t* row = window + (f * g.reach + y) * g.tile_words + x / 4;
#pragma unroll 2
      for (int r = 0; r < p; ++r, mine += words, row += g.tile_words) {
        uint32_t low = row[0];
#pragma unroll
        for (int k = 0; k < words; ++k) {
          const uint32_t high = row[k + 1];
          const uint32_t theirs = __funnelshift_r(low, high, x % 4 * 8) & keep_mask(p, k);
          sum = sad4(mine[k], theirs, sum);
          low = high;
        }
      }
    }
    return static_cast<int32_t>(sum);
  }
};

// The same without a copy, for windows that do not fit.
__device__ __forceinline__ int32_t far_sad(const GatePlan& g, int s, int t, int n, Vector v) {
  int32_t sum = 0;
  for (int f = 0; f < g.tubelet; ++f) {
    const int64_t at = int64_t{f} * g.colours * g.plane_bytes;
    sum += words_sad<0>(g.frame(s, t) + at + g.offset(n), g.picture(s) + at + g.offset(n, v),
                        g.width, g.cell);
  }
  return sum;
}

// Of all whole candidates the one of least objective; kUntested: there was none.
template <int kCell>
__device__ __forceinline__ Match search(const GatePlan& g, uint8_t* warps, int s, int t, int n) {
  SearchTile tile(g, warp_memory(g, warps));
  if (g.tile_words > 0) tile.load(g, s, t, n);
  uint32_t objective = kUntested, rank = ~0u;
  for (int c = lane(); c < g.side * g.side; c += kWarp) {
    const Vector v{c / g.side - g.radius, c % g.side - g.radius};
    if (!is_candidate(v, g.radius, g.top(n), g.left(n), g.cell, g.height, g.width)) continue;
    const int32_t sad = g.tile_words > 0
                            ? tile.template sad<kCell>(g, v.dy + g.radius, v.dx + g.radius)
                            : far_sad(g, s, t, n, v);
    const auto found = static_cast<uint32_t>(sad + vector_price(g.cell, v));
    const uint32_t order = tie_rank(v);
    if (found < objective || (found == objective && order < rank)) objective = found, rank = order;
  }
  __syncwarp();  // before the tile is filled again
  return least_match(objective, rank);
}

// A cell's minimum votes for the camera's motion, if it passes. The vote that brings a vector to
// the most votes, or wins their tie, leaves it as the mode.
__device__ __forceinline__ void vote(const GatePlan& g, int s, int t, Vector v) {
  const auto votes = static_cast<unsigned long long>(atomicAdd(&g.votes(s, v), 1)) + 1;
  atomicMax(&g.scratch.mode[g.step(t, s)], votes << 32 | ~tie_rank(v));
}

template <int kCell, int kSubBlock>
__device__ __forceinline__ void search_cell(const GatePlan& g, GateShared& shared, uint8_t* warps,
                                            int entry, int t) {
  const int s = entry / g.cells, n = entry % g.cells;
  Match match = search<kCell>(g, warps, s, t, n);
  int32_t cost = kUntested;
  if (match.objective != kUntested) {
    const uint8_t* then = g.picture(s) + g.offset(n, match.vector);
    if (g.precision > 1) {
      const Vector whole{match.vector.dy * g.precision, match.vector.dx * g.precision};
      match = refined<kCell>(g, warps, s, t, n, whole);
      put_by<kCell>(g, warps, s, n, match.vector);
      then = g.displaced(s, n);
    }
    int32_t *costs = shared.trial_cost[warp()], *sums = shared.trial_sum[warp()];
    try_blocks<kCell, kSubBlock>(g, s, t, n, 1, [&](int) { return then; }, costs, sums);
    cost = costs[0];
  }
  if (lane() > 0) return;
  const int32_t zero = g.result.cost[g.at(s, t) + n];
  g.scratch.least[entry] = cost < zero ? cost : zero;
  g.scratch.minimum[entry] = tie_rank(match.vector);
  g.scratch.minimum_cost[entry] = cost;
  if (g.precision > 1) g.scratch.objective[entry] = match.objective;
  if (cost > g.cell_limit(s, t, n))
    atomicAdd(&g.scratch.lost[g.step(t, s)], 1);
  else
    vote(g, s, t, match.vector);
}

// Votes for standing still, of streams in which something failed.
__device__ __forceinline__ void count_still(const GatePlan& g, int t) {
  for (int i = first_warp(); i < g.streams * g.cells; i += all_warps()) {
    const int s = i / g.cells, n = i % g.cells;
    const int64_t at = g.step(t, s);
    if (!g.scratch.stirred[at] || g.scratch.decided[i] != kStatic) continue;
    const bool textured = warp_texture(g, s, t, n) > g.rules.texture;
    if (textured && lane() == 0) atomicAdd(&g.scratch.still[at], 1);
  }
}

template <int kCell, int kSubBlock>
__device__ __forceinline__ void search_stage(const GatePlan& g, GateShared& shared, uint8_t* warps,
                                             int t) {
  for (int i = first_warp(); i < g.scratch.failed[t]; i += all_warps())
    search_cell<kCell, kSubBlock>(g, shared, warps, g.scratch.worklist[i], t);
  if (g.rules.on_motion == kCamera) count_still(g, t);
}

}  // namespace patchgate
