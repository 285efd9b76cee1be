// The gate, frame by frame: the stages that all blocks go through together. Between two stages
// stands a barrier across the grid wherever one reads what another block wrote.
#pragma once

#include "cuda/gate/gate_motion.h"

namespace patchgate {

// What the zero test says of a cell.
__device__ __forceinline__ void decide_cell(const GatePlan& g, int s, int t, int n, int32_t cost) {
  const int64_t at = g.at(s, t) + n;
  const int64_t source = g.state.source[int64_t{s} * g.cells + n];
  const int entry = s * g.cells + n;
  const bool first = g.is_first(s, t);
  const bool passes = !first && cost <= g.cell_limit(s, t, n);
  g.scratch.decided[entry] = g.result.kind[at] = passes ? kStatic : kChanged;
  g.result.motion[2 * at] = g.result.motion[2 * at + 1] = 0;
  g.result.source[at] = source;
  const bool expires = passes && g.rules.max_age > 0 && source < oldest_token(g, s, t);
  if (!passes || expires) g.scratch.active[t] = 1;
  if (passes || first) return;
  g.scratch.worklist[atomicAdd(&g.scratch.failed[t], 1)] = entry;
  g.scratch.stirred[g.step(t, s)] = 1;
  if (g.radius == 0) atomicAdd(&g.scratch.lost[g.step(t, s)], 1);  // no search will explain it
}

// Brings the reference up to date with the frame before, and compares. Each block touches only
// cells of its own, so that the two need no barrier in between.
template <int kCell, int kSubBlock>
__device__ __forceinline__ void zero_stage(const GatePlan& g, GateShared& shared, int t) {
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x) {
    const Segment segment = segment_of(g, task);
    const int s = segment.s;
    if (t > 0) update_segment<kCell>(g, segment, t - 1);
    if (threadIdx.x == 0) {
      g.result.is_key[g.frame_of(s, t)] = false;
      if (!g.rules.adaptive || g.is_first(s, t)) g.result.limit[g.frame_of(s, t)] = g.rules.limit;
    }
    zero_test<kCell, kSubBlock>(g, shared, segment, t);
    for (int i = threadIdx.x; i < segment.count; i += kGateThreads) {
      g.result.cost[g.at(s, t) + segment.first + i] = shared.cost[i];
      if (!g.rules.adaptive) decide_cell(g, s, t, segment.first + i, shared.cost[i]);
    }
  }
}

// The value of the given rank among a frame's zero-test costs (below 2^24), byte by byte from the
// top: each round counts the values that agree so far by their next byte.
__device__ __forceinline__ int32_t select_cost(const int32_t* costs, int count, int rank,
                                               GateShared& shared) {
  static_assert(kGateThreads == 256);
  uint32_t prefix = 0;
  for (int shift = 16; shift >= 0; shift -= 8) {
    shared.histogram[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += kGateThreads) {
      const auto cost = static_cast<uint32_t>(costs[i]);
      if (cost >> shift >> 8 == prefix) atomicAdd(&shared.histogram[cost >> shift & 255], 1);
    }
    __syncthreads();
    const int mine = shared.histogram[threadIdx.x];
    int total;
    const int before = block_scan<kGateThreads>(mine, shared.sums, total);
    if (before <= rank && rank < before + mine) {
      shared.found = static_cast<int32_t>(threadIdx.x);
      shared.cost[0] = rank - before;
    }
    __syncthreads();
    prefix = prefix << 8 | static_cast<uint32_t>(shared.found);
    rank = shared.cost[0];
  }
  return static_cast<int32_t>(prefix);
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

__device__ __forceinline__ void decide_stage(const GatePlan& g, int t) {
  for (int i = first_thread(); i < g.streams * g.cells; i += all_threads()) {
    const int s = i / g.cells, n = i % g.cells;
    decide_cell(g, s, t, n, g.result.cost[g.at(s, t) + n]);
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
__device__ __forceinline__ uint8_t settled_kind(const GatePlan& g, int s, int t, int n) {
  const uint8_t decided = g.scratch.decided[s * g.cells + n];
  if (decided == kChanged || is_cut(g, s, t)) return kChanged;
  const int64_t at = g.at(s, t) + n;
  if (g.rules.hysteresis >= 0 && beside_changed(g, s, n) &&
      g.result.cost[at] > scaled_limit(g.cell_limit(s, t, n), g.rules.hysteresis))
    return kChanged;
  const bool expires = g.rules.max_age > 0 && g.result.source[at] < oldest_token(g, s, t);
  return expires ? uint8_t{kChanged} : decided;
}

// The last word on every cell, and how many of each chunk changed; a thread takes a cell.
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
      const uint8_t kind = settled_kind(g, s, t, n);
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
template <int kCell>
__device__ __forceinline__ void save_stage(const GatePlan& g, int t) {
  for (int i = first_warp(); i < g.scratch.failed[t]; i += all_warps()) {
    const int entry = g.scratch.worklist[i], s = entry / g.cells, n = entry % g.cells;
    const int64_t at = g.at(s, t) + n;
    if (g.result.kind[at] != kMoved) continue;
    const Vector v{g.result.motion[2 * at], g.result.motion[2 * at + 1]};
    if (g.precision == 1)
      copy_cell<kCell>(g, g.picture(s) + g.offset(n, v), g.displaced(s, n), g.cell_planes);
    copy_cell<kCell>(g, g.ids(s) + g.ids_offset(s, t, n, v), g.displaced_ids(s, n), 1);
  }
}

// A frame in which nothing is new: as many tokens as before.
__device__ __forceinline__ void carry_stage(const GatePlan& g, int t) {
  for (int s = first_thread(); s < g.streams; s += all_threads())
    g.scratch.tokens[g.step(t + 1, s)] = g.scratch.tokens[g.step(t, s)];
}

template <int kCell, int kSubBlock>
__device__ __forceinline__ void gate_frames(const GatePlan& g, GateShared& shared, uint8_t* warps) {
  clear_stage(g);
  grid_barrier();
  for (int t = 0; t < g.times; ++t) {
    zero_stage<kCell, kSubBlock>(g, shared, t);
    grid_barrier();
    if (g.rules.adaptive) {
      adapt_stage(g, shared, t);
      grid_barrier();
      decide_stage(g, t);
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
    settle_stage(g, t);
    grid_barrier();
    number_stage(g, shared, t);
    if (g.radius > 0 && g.rules.on_motion != kEncode) save_stage<kCell>(g, t);
    grid_barrier();
  }
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x)
    update_segment<kCell>(g, segment_of(g, task), g.times - 1);
  for (int s = first_thread(); s < g.streams; s += all_threads()) finish_stream(g, s);
}

}  // namespace patchgate
