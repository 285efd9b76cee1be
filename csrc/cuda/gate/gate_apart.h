// The gate where cells have nothing to do with each other: no search, scene cut, hysteresis or
// adaptive limit. Each block takes its cells through all frames; then tokens are numbered.
#pragma once

#include "cuda/gate/gate_segment.h"

namespace patchgate {

// One cell's history, as the thread that decides about it knows it.
struct CellHistory {
  int64_t source;  // the token that explained it before this push
  int born = -1;   // the frame of its newest token, if it is of this push

  // Whether frame t encodes the cell, which differs by `cost` from its reference.
  __device__ __forceinline__ bool changes(const GatePlan& g, int s, int t, int n, int32_t cost) {
    const int32_t limit = g.rules.threshold_map
                              ? scaled_limit(g.rules.limit, g.rules.threshold_map[n])
                              : g.rules.limit;
    const bool changed = g.is_first(s, t) || cost > limit || expired(g, s, t);
    if (changed) born = t;
    return changed;
  }

  __device__ __forceinline__ bool expired(const GatePlan& g, int s, int t) const {
    const int64_t age = g.rules.max_age, first = t + 1 - age;
    if (age == 0) return false;
    if (born >= 0) return t - born >= age;
    // A token of an earlier push: surely too old once the ring has come round to this one.
    return first >= 0 || source < g.state.births[s * age + (g.state.clock[2 * s] + t + 1) % age];
  }
};

__device__ __forceinline__ void report_cell(const GatePlan& g, int s, int t, int n, int32_t cost,
                                            bool changed) {
  const int64_t at = g.at(s, t) + n;
  g.result.kind[at] = changed ? kChanged : kStatic;
  g.result.motion[2 * at] = g.result.motion[2 * at + 1] = 0;
  g.result.cost[at] = g.is_first(s, t) ? -1 : cost;
  if (changed) atomicAdd(&g.scratch.counts[g.step(t, s)], 1);
}

// Any sub-block: the reference stays in memory, and in the cache of the block's multiprocessor.
template <int kCell>
__device__ __forceinline__ void watch_in_memory(const GatePlan& g, GateShared& shared,
                                                Segment segment) {
  const int s = segment.s, i = threadIdx.x, n = segment.first + i;
  const bool mine = i < segment.count;
  CellHistory history{mine ? g.state.source[int64_t{s} * g.cells + n] : 0};
  for (int t = 0; t < g.times; ++t) {
    zero_test<kCell, 0>(g, shared, segment, t);
    if (mine) {
      const int32_t cost = shared.cost[i];
      const bool changed = history.changes(g, s, t, n, cost);
      report_cell(g, s, t, n, cost, changed);
    }
    __syncthreads();
    for (int j = warp(); j < segment.count; j += kGateWarps) {
      const int64_t at = g.offset(segment.first + j);
      if (g.result.kind[g.at(s, t) + segment.first + j] == kChanged)
        copy_cell<kCell>(g, g.frame(s, t) + at, g.picture(s) + at, g.cell_planes);
    }
  }
}

// A sub-block as read: the aligned words that hold its rows. They are put in place only where they
// are used, so that the next frame's are on their way while this one's are compared.
template <int kSize>
struct RawBlock {
  static constexpr int kWords = (kSize + 6) / 4;  // that kSize bytes at any address can touch
  uint32_t words[kSize][kWords];

  __device__ __forceinline__ void load(const uint8_t* block, int stride) {
#pragma unroll
    for (int y = 0; y < kSize; ++y) {
      const auto address = reinterpret_cast<uintptr_t>(block + int64_t{y} * stride);
      const int skipped = static_cast<int>(address % 4);
      const auto* row = reinterpret_cast<const uint32_t*>(address - skipped);
#pragma unroll
      for (int k = 0; k < kWords; ++k)
        words[y][k] = 4 * k < skipped + kSize ? load_word(row + k) : 0;
    }
  }
};

template <int kSize>
struct Block {
  static constexpr int kWords = (kSize + 3) / 4;
  uint32_t words[kSize][kWords];

  // `block` and `stride` are what `raw` was loaded with.
  __device__ __forceinline__ void align(const RawBlock<kSize>& raw, const uint8_t* block,
                                        int stride) {
#pragma unroll
    for (int y = 0; y < kSize; ++y) {
      const auto address = reinterpret_cast<uintptr_t>(block + int64_t{y} * stride);
      const auto shift = static_cast<uint32_t>(address % 4 * 8);
#pragma unroll
      for (int k = 0; k < kWords; ++k) {
        const uint32_t high = k + 1 < RawBlock<kSize>::kWords ? raw.words[y][k + 1] : 0;
        words[y][k] = __funnelshift_r(raw.words[y][k], high, shift) & keep_mask(kSize, k);
      }
    }
  }

  __device__ __forceinline__ int32_t sad(const Block& other) const {
    uint32_t sum = 0;
#pragma unroll
    for (int y = 0; y < kSize; ++y)
#pragma unroll
      for (int k = 0; k < kWords; ++k) sum = sad4(words[y][k], other.words[y][k], sum);
    return static_cast<int32_t>(sum);
  }

  __device__ __forceinline__ void store(uint8_t* block, int stride) const {
#pragma unroll
    for (int y = 0; y < kSize; ++y)
#pragma unroll
      for (int x = 0; x < kSize; ++x)
        block[int64_t{y} * stride + x] = static_cast<uint8_t>(words[y][x / 4] >> x % 4 * 8);
  }
};

// A thread keeps one sub-block of the reference in registers through all frames. Three buffers of
// costs make one barrier a frame enough: what is read after it is cleared only after the next.
template <int kSubBlock>
__device__ __forceinline__ void watch_in_registers(const GatePlan& g, GateShared& shared,
                                                   Segment segment) {
  int32_t* costs[3] = {shared.cost, shared.histogram, shared.spare};
  const int s = segment.s, parts = g.cell / kSubBlock, columns = segment.count * parts;
  const int i = threadIdx.x, column = i % columns, row = i / columns;
  const int cell = column / parts, n = segment.first + cell;
  const bool works = row < g.cell_planes * parts, reports = i < segment.count;
  const int64_t at = g.offset(segment.first) + row / parts * g.plane_bytes +
                     int64_t{row % parts * kSubBlock} * g.width + column * kSubBlock;
  CellHistory history{g.state.source[int64_t{s} * g.cells + n]};
  CellHistory reported{g.state.source[int64_t{s} * g.cells + segment.first + (reports ? i : 0)]};
  RawBlock<kSubBlock> raw;
  Block<kSubBlock> reference, now;
  if (works) {
    raw.load(g.picture(s) + at, g.width);
    reference.align(raw, g.picture(s) + at, g.width);
    raw.load(g.frame(s, 0) + at, g.width);
  }
  costs[0][i] = costs[1][i] = 0;
  __syncthreads();
  for (int t = 0; t < g.times; ++t) {
    int32_t *mine = costs[0], *next = costs[1], *after = costs[2];
    if (works) {
      now.align(raw, g.frame(s, t) + at, g.width);
      if (t + 1 < g.times) raw.load(g.frame(s, t + 1) + at, g.width);
      atomicMax(&mine[cell], now.sad(reference));
    }
    __syncthreads();
    after[i] = 0;  // all have read it: it was the frame before's
    if (works && history.changes(g, s, t, n, mine[cell])) reference = now;
    if (reports) {
      const bool changed = reported.changes(g, s, t, segment.first + i, mine[i]);
      report_cell(g, s, t, segment.first + i, mine[i], changed);
    }
    costs[0] = next, costs[1] = after, costs[2] = mine;
  }
  if (works && history.born >= 0) reference.store(g.picture(s) + at, g.width);
  __syncthreads();
}

// Numbers the new tokens of every frame in raster order; a block takes a frame of a stream.
__device__ __forceinline__ void number_frames(const GatePlan& g, GateShared& shared) {
  for (int64_t task = blockIdx.x; task < g.step(g.times, 0); task += gridDim.x) {
    const int s = static_cast<int>(task % g.streams), t = static_cast<int>(task / g.streams);
    int earlier = 0, total;
    for (int i = threadIdx.x; i < t; i += kGateThreads) earlier += g.scratch.counts[g.step(i, s)];
    block_scan<kGateThreads>(earlier, shared.sums, total);
    __syncthreads();
    int64_t tokens = g.state.clock[2 * s + 1] + total;
    if (threadIdx.x == 0) {
      const int changed = g.scratch.counts[g.step(t, s)];
      g.scratch.tokens[g.step(t, s)] = tokens;
      if (t + 1 == g.times) g.scratch.tokens[g.step(g.times, s)] = tokens + changed;
      g.result.is_key[g.frame_of(s, t)] = changed == g.cells;
      g.result.limit[g.frame_of(s, t)] = g.rules.limit;
    }
    for (int begin = 0; begin < g.cells; begin += kGateThreads) {
      const int n = begin + static_cast<int>(threadIdx.x);
      const int64_t at = g.at(s, t) + n;
      const bool changed = n < g.cells && g.result.kind[at] == kChanged;
      const int rank = block_scan<kGateThreads>(changed, shared.sums, total);
      if (changed) g.result.source[at] = tokens + rank;
      tokens += total;
      __syncthreads();
    }
  }
}

// Sources of the cells that stood still: a thread follows a cell through the frames. Then the ids
// of the pixels of those that ever changed.
template <int kCell>
__device__ __forceinline__ void spread_sources(const GatePlan& g, GateShared& shared) {
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x) {
    const Segment segment = segment_of(g, task);
    const int s = segment.s, i = threadIdx.x, n = segment.first + i;
    if (i < segment.count) {
      int64_t& kept = g.state.source[int64_t{s} * g.cells + n];
      int64_t source = kept;
      bool changed = false;
      for (int t = 0; t < g.times; ++t) {
        const int64_t at = g.at(s, t) + n;
        const bool now = g.result.kind[at] == kChanged;
        if (now) source = g.result.source[at];
        g.result.source[at] = source;
        changed |= now;
      }
      kept = source;
      shared.cost[i] = changed ? static_cast<int32_t>(source) : -1;
    }
    __syncthreads();
    for (int j = warp(); j < segment.count; j += kGateWarps)
      if (shared.cost[j] >= 0) fill_ids<kCell>(g, s, segment.first + j, shared.cost[j]);
    __syncthreads();
  }
}

template <int kCell, int kSubBlock>
__device__ __forceinline__ void gate_apart(const GatePlan& g, GateShared& shared) {
  clear_stage(g);
  grid_barrier();
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x) {
    if constexpr (kSubBlock > 0)
      watch_in_registers<kSubBlock>(g, shared, segment_of(g, task));
    else
      watch_in_memory<kCell>(g, shared, segment_of(g, task));
  }
  grid_barrier();
  number_frames(g, shared);
  grid_barrier();
  spread_sources<kCell>(g, shared);
  for (int s = first_thread(); s < g.streams; s += all_threads()) finish_stream(g, s);
}

}  // namespace patchgate
