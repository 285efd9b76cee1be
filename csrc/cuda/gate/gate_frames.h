// The gate, frame by frame: the stages that all blocks go through together. Between two stages
// stands a barrier across the grid wherever one reads what another block wrote.
#pragma once

#include "cuda/gate/gate_motion.h"
#include "cuda/gate/gate_relight.h"

namespace patchgate {

// What the zero test says of a cell.
template <bool kLight>
__device__ __forceinline__ void decide_cell(const GatePlan& g, int s, int t, int n, int32_t cost) {
  const int64_t at = g.at(s, t) + n;
  const int64_t source = g.state.source[int64_t{s} * g.cells + n];
  const int entry = s * g.cells + n;
  const bool first = g.is_first(s, t);
  const bool passes = !first && cost <= g.cell_limit(s, t, n);
  g.scratch.decided[entry] = g.result.kind[at] = passes ? kStatic : kChanged;
  g.result.motion[2 * at] = g.result.motion[2 * at + 1] = 0;
  g.result.source[at] = source;
  bool expires = passes && g.rules.max_age > 0 && source < oldest_token(g, s, t);
  if constexpr (kLight)
    if (passes && g.scratch.relit_stream[g.step(t, s)])
      expires |= in_strange_light(g, s, n, {0, 0});
  if (!passes || expires) g.scratch.active[t] = 1;
  if (passes || first) return;
  g.scratch.worklist[atomicAdd(&g.scratch.failed[t], 1)] = entry;
  g.scratch.stirred[g.step(t, s)] = 1;
  if (g.radius == 0) atomicAdd(&g.scratch.lost[g.step(t, s)], 1);  // no search will explain it
}

// Brings the reference up to date with the frame before, and compares. Each block touches only
// cells of its own, so that the two need no barrier in between.
template <int kCell, int kSubBlock, bool kLight>
__device__ __forceinline__ void zero_stage(const GatePlan& g, GateShared& shared, int t) {
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x) {
    const Segment segment = segment_of(g, task);
    const int s = segment.s;
    if (t > 0) update_segment<kCell>(g, segment, t - 1);
    if constexpr (kLight)
      if (t > 0) update_light(g, segment, t - 1);
    if (threadIdx.x == 0) {
      g.result.is_key[g.frame_of(s, t)] = false;
      if (!g.rules.adaptive || g.is_first(s, t)) g.result.limit[g.frame_of(s, t)] = g.rules.limit;
    }
    zero_test<kCell, kSubBlock>(g, shared, segment, t);
    for (int i = threadIdx.x; i < segment.count; i += kGateThreads) {
      g.result.cost[g.at(s, t) + segment.first + i] = shared.cost[i];
      if (!g.rules.adaptive && !kLight)
        decide_cell<kLight>(g, s, t, segment.first + i, shared.cost[i]);
    }
  }
}

// noise="adaptive": the limit of each stream's frame; a block takes a stream.
__device__ __forceinline__ void adapt_stage(const GatePlan& g, GateShared& shared, int t) {
  for (int s = blockIdx.x; s < g.streams; s += gridDim.x) {
    if (g.is_first(s, t)) continue;
    const int64_t seen = g.state.clock[2 * s] + t;
    const int32_t quartile =
        select_cost(g.result.cost + g.at(s, t), g.cells, (g.cells - 1) / 4, shared);
    int32_t* quartiles = g.state.quartiles + int64_t{s} * kQuartiles;
    if (threadIdx.x == 0) quartiles[(seen - 1) % kQuartiles] = quartile;
    __syncthreads();
    const int known = seen < kQuartiles ? static_cast<int>(seen) : kQuartiles, i = threadIdx.x;
    int rank = 0;
    for (int j = 0; i < known && j < known; ++j)
      rank += quartiles[j] < quartiles[i] || (quartiles[j] == quartiles[i] && j < i);
    if (i < known && rank == (known - 1) / 2)
      g.result.limit[g.frame_of(s, t)] = adaptive_limit(quartiles[i], g.rules.limit);
  }
}

template <bool kLight>
__device__ __forceinline__ void decide_stage(const GatePlan& g, int t) {
  for (int i = first_thread(); i < g.streams * g.cells; i += all_threads()) {
    const int s = i / g.cells, n = i % g.cells;
    decide_cell<kLight>(g, s, t, n, g.result.cost[g.at(s, t) + n]);
  }
}

__device__ __forceinline__ bool beside_changed(const GatePlan& g, int s, int n) {
  const uint8_t* decided = g.scratch.decided + int64_t{s} * g.cells;
  const int row = n / g.w, column = n % g.w;
  for (int y = row > 0 ? row - 1 : 0; y < g.h && y < row + 2; ++y)
    for (int x = column > 0 ? column - 1 : 0; x < g.w && x < column + 2; ++x)
      if (decided[y * g.w + x] == kChanged) return true;
  return false;
}

// A cell's kind in the end: scene cut, hysteresis, max_age.
template <bool kLight>
__device__ __forceinline__ uint8_t settled_kind(const GatePlan& g, int s, int t, int n) {
  const uint8_t decided = g.scratch.decided[s * g.cells + n];
  if (decided == kChanged || is_cut(g, s, t)) return kChanged;
  const int64_t at = g.at(s, t) + n;
  if (g.rules.hysteresis >= 0 && beside_changed(g, s, n) &&
      g.result.cost[at] > scaled_limit(g.cell_limit(s, t, n), g.rules.hysteresis))
    return kChanged;
  const bool expires = g.rules.max_age > 0 && g.result.source[at] < oldest_token(g, s, t);
  if (expires) return kChanged;
  if constexpr (kLight) {
    const Vector v{g.result.motion[2 * at], g.result.motion[2 * at + 1]};
    if (g.scratch.relit_stream[g.step(t, s)] && in_strange_light(g, s, n, g.whole(s, t, v)))
      return kChanged;
  }
  return decided;
}

// The last word on every cell, and how many of each chunk changed; a thread takes a cell.
template <bool kLight>
__device__ __forceinline__ void settle_stage(const GatePlan& g, int t) {
  const int64_t votes = int64_t{g.streams} * g.vote_side * g.vote_side;
  for (int64_t i = first_thread(); g.radius > 0 && i < votes; i += all_threads())
    g.scratch.votes[i] = 0;  // for the next frame
  for (int task = blockIdx.x; task < g.streams * g.chunks; task += gridDim.x) {
    const int s = task / g.chunks, n = task % g.chunks * kGateThreads + threadIdx.x;
    bool changed = false;
    if (n < g.cells) {
      const int64_t at = g.at(s, t) + n;
      const int entry = s * g.cells + n;
      const bool searched =
          g.radius > 0 && !g.is_first(s, t) && g.scratch.decided[entry] != kStatic;
      const uint8_t kind = settled_kind<kLight>(g, s, t, n);
      changed = kind == kChanged;
      g.result.kind[at] = kind;
      if (changed) g.result.motion[2 * at] = g.result.motion[2 * at + 1] = 0;
      if (changed && searched) g.result.cost[at] = g.scratch.least[entry];
    }
    const int count = __syncthreads_count(changed);
    if (threadIdx.x == 0) g.scratch.counts[task] = count;
  }
}

// Numbers the new tokens in raster order, and settles every cell's source.
__device__ __forceinline__ void number_stage(const GatePlan& g, GateShared& shared, int t) {
  for (int task = blockIdx.x; task < g.streams * g.chunks; task += gridDim.x) {
    const int s = task / g.chunks, chunk = task % g.chunks;
    const int n = chunk * kGateThreads + static_cast<int>(threadIdx.x);
    const int64_t at = g.at(s, t) + n;
    const bool changed = n < g.cells && g.result.kind[at] == kChanged;
    int before = 0, total;
    for (int i = task - chunk; i < task; ++i) before += g.scratch.counts[i];
    const int rank = before + block_scan<kGateThreads>(changed, shared.sums, total);
    const int64_t tokens = g.scratch.tokens[g.step(t, s)];
    if (changed) g.result.source[at] = tokens + rank;
    if (n < g.cells) g.state.source[int64_t{s} * g.cells + n] = g.result.source[at];
    if (chunk == g.chunks - 1 && threadIdx.x == 0) {
      g.scratch.tokens[g.step(t + 1, s)] = tokens + before + total;
      g.result.is_key[g.frame_of(s, t)] = before + total == g.cells;
    }
    __syncthreads();
  }
}

// Puts the displaced blocks by: all are read before the first is overwritten. Those between pixels
// were when they were tried.
template <int kCell, bool kLight>
__device__ __forceinline__ void save_stage(const GatePlan& g, int t) {
  for (int i = first_warp(); i < g.scratch.failed[t]; i += all_warps()) {
    const int entry = g.scratch.worklist[i], s = entry / g.cells, n = entry % g.cells;
    const int64_t at = g.at(s, t) + n;
    if (g.result.kind[at] != kMoved) continue;
    const Vector v{g.result.motion[2 * at], g.result.motion[2 * at + 1]};
    if (g.precision == 1)
      copy_cell<kCell>(g, g.picture(s) + g.offset(n, v), g.displaced(s, n), g.cell_planes);
    copy_cell<kCell>(g, g.ids(s) + g.ids_offset(s, t, n, v), g.displaced_ids(s, n), 1);
    if constexpr (kLight) save_light(g, s, n, g.whole(s, t, v));
  }
}

// A frame in which nothing is new: as many tokens as before.
__device__ __forceinline__ void carry_stage(const GatePlan& g, int t) {
  for (int s = first_thread(); s < g.streams; s += all_threads())
    g.scratch.tokens[g.step(t + 1, s)] = g.scratch.tokens[g.step(t, s)];
}

template <int kCell, bool kLight>
__device__ __forceinline__ void finish_segment(const GatePlan& g, Segment segment) {
  update_segment<kCell>(g, segment, g.times - 1);
  if constexpr (kLight) update_light(g, segment, g.times - 1);
}

template <int kCell, int kSubBlock, bool kLight = false>
__device__ __forceinline__ void gate_frames(const GatePlan& g, GateShared& shared, uint8_t* warps) {
  clear_stage(g);
  grid_barrier();
  for (int t = 0; t < g.times; ++t) {
    zero_stage<kCell, kSubBlock, kLight>(g, shared, t);
    grid_barrier();
    if constexpr (kLight) {
      light_stage(g, shared, t);
      grid_barrier();
      if (g.scratch.relit[t]) {
        relight_stage<kCell, kSubBlock>(g, shared, t);
        grid_barrier();
      }
    }
    if (g.rules.adaptive) {
      adapt_stage(g, shared, t);
      grid_barrier();
    }
    if (g.rules.adaptive || kLight) {
      decide_stage<kLight>(g, t);
      grid_barrier();
    }
    if (g.scratch.active[t] == 0) {
      carry_stage(g, t);
      continue;
    }
    if (g.radius > 0 && g.scratch.failed[t] > 0) {
      search_stage<kCell, kSubBlock>(g, shared, warps, t);
      grid_barrier();
      if (g.rules.on_motion != kEncode) {
        motion_stage<kCell, kSubBlock>(g, shared, warps, t);
        grid_barrier();
      }
    }
    settle_stage<kLight>(g, t);
    grid_barrier();
    number_stage(g, shared, t);
    if (g.radius > 0 && g.rules.on_motion != kEncode) save_stage<kCell, kLight>(g, t);
    grid_barrier();
  }
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x)
    finish_segment<kCell, kLight>(g, segment_of(g, task));
  for (int s = first_thread(); s < g.streams; s += all_threads()) finish_stream(g, s);
}

}  // namespace patchgate
