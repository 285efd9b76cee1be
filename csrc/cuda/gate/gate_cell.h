// What the gate's kernels do to one cell, or to one sub-block of it: gate.h's definitions, four
// bytes at a time and shared out to the lanes of a warp.
#pragma once

#include "cuda/bytes.h"
#include "cuda/gate/gate_plan.h"

namespace patchgate {

constexpr int kLightTotals = 5;  // that a fit of the light adds up

// A block's shared memory; each warp's own lies behind it.
struct GateShared {
  int32_t cost[kGateThreads];  // of the cells of a segment
  int32_t sums[kGateWarps];
  int32_t histogram[kGateThreads];
  int32_t spare[kGateThreads];
  int32_t trial_cost[kGateWarps][9];
  int32_t trial_sum[kGateWarps][9];
  int32_t found;
  unsigned long long light[kLightTotals];
};

// A kernel for one cell side and sub-block side, which the compiler then knows; 0, 0: any.
template <int kCell, int kSubBlock>
struct Sides {
  const GatePlan& plan;

  __device__ __forceinline__ int cell() const { return kCell ? kCell : plan.cell; }
  __device__ __forceinline__ int sub_block() const {
    return kSubBlock ? kSubBlock : plan.sub_block;
  }
  __device__ __forceinline__ int parts() const { return cell() / sub_block(); }
};

// Sum of absolute differences of two size x size blocks in rows of `stride` bytes.
template <int kSize>
__device__ __forceinline__ int32_t words_sad(const uint8_t* a, const uint8_t* b, int stride,
                                             int size) {
  if constexpr (kSize > 0) size = kSize;
  uint32_t sum = 0;
#pragma unroll
  for (int y = 0; y < size; ++y) {
    RowReader row_a(a + int64_t{y} * stride, size), row_b(b + int64_t{y} * stride, size);
#pragma unroll
    for (int k = 0; 4 * k < size; ++k) {
      const uint32_t keep = keep_mask(size, k);
      sum = sad4(row_a.next() & keep, row_b.next() & keep, sum);
    }
  }
  return static_cast<int32_t>(sum);
}

// A warp's own part of the shared memory.
__device__ __forceinline__ uint8_t* warp_memory(const GatePlan& g, uint8_t* warps) {
  return warps + warp() * 4 * g.warp_words;
}

// Compares a cell with `count` (at most 9) blocks, by one warp: the largest sub-block SAD of each
// and the luma SAD of the whole cell. block_of(k) is where the k-th begins, null if it is none.
template <int kCell, int kSubBlock, class BlockOf>
__device__ __forceinline__ void try_blocks(const GatePlan& g, int s, int t, int n, int count,
                                           BlockOf&& block_of, int32_t* cost,  // [count]
                                           int32_t* sum) {                     // [count]
  const Sides<kCell, kSubBlock> sides{g};
  const int parts = sides.parts(), b = sides.sub_block(), blocks = g.cell_planes * parts * parts;
  __syncwarp();  // what was tried before has been read
  for (int k = lane(); k < count; k += kWarp) cost[k] = sum[k] = 0;
  __syncwarp();
  const uint8_t* now = g.frame(s, t) + g.offset(n);
  for (int i = lane(); i < count * blocks; i += kWarp) {
    const int k = i / blocks, part = i % (parts * parts), plane = i % blocks / (parts * parts);
    const uint8_t* then = block_of(k);
    if (then == nullptr) continue;
    const int64_t at =
        plane * g.plane_bytes + int64_t{part / parts * b} * g.width + part % parts * b;
    const int32_t sad = words_sad<kSubBlock>(now + at, then + at, g.width, b);
    atomicMax(&cost[k], sad);
    if (plane % g.colours == 0) atomicAdd(&sum[k], sad);
  }
  __syncwarp();
}

// The least of the lanes' matches, known to all of them.
__device__ __forceinline__ Match least_match(uint32_t objective, uint32_t rank) {
  const uint32_t least = __reduce_min_sync(kAllLanes, objective);
  rank = __reduce_min_sync(kAllLanes, objective == least ? rank : ~0u);
  return {static_cast<int32_t>(least), vector_of_rank(rank)};
}

// gate.h's cell_texture over a cell's frames, by one warp.
__device__ __forceinline__ int32_t warp_texture(const GatePlan& g, int s, int t, int n) {
  int32_t sum = 0;
  for (int i = lane(); i < g.tubelet * g.cell; i += kWarp) {
    const int f = i / g.cell, y = i % g.cell;
    const uint8_t* row =
        g.frame(s, t) + int64_t{f} * g.colours * g.plane_bytes + g.offset(n) + int64_t{y} * g.width;
    sum += row_texture(row, g.width, g.cell, y + 1 < g.cell);
  }
  return __reduce_add_sync(kAllLanes, sum);
}

__device__ __forceinline__ int first_thread() { return blockIdx.x * kGateThreads + threadIdx.x; }
__device__ __forceinline__ int all_threads() { return gridDim.x * kGateThreads; }

// The call's memory as it must be before the first frame.
__device__ __forceinline__ void clear_stage(const GatePlan& g) {
  auto* zeros = g.scratch.failed;  // the first arrays up to `tokens` lie in a row
  const int64_t count = reinterpret_cast<int32_t*>(g.scratch.tokens) - zeros;
  for (int64_t i = first_thread(); i < count; i += all_threads()) zeros[i] = 0;
  for (int s = first_thread(); s < g.streams; s += all_threads()) {
    const int64_t seen = g.state.clock[2 * s], tokens = g.state.clock[2 * s + 1];
    g.scratch.tokens[s] = tokens;
    if (!counts_frames(seen) || tokens < 0)
      fail("gate: a clock of less than 0 frames or tokens is not of a stream that a gate has seen");
    if (!has_ids(tokens, g.times, g.cells))
      fail("gate: this push could exceed 2^31 token ids: reset the stream first");
  }
}

// The token that the ring of births names: no older one may live on in frame t.
__device__ __forceinline__ int64_t oldest_token(const GatePlan& g, int s, int t) {
  const int64_t age = g.rules.max_age, first = t + 1 - age;
  if (first >= 0) return g.scratch.tokens[g.step(first, s)];
  const int64_t seen = g.state.clock[2 * s];
  return seen == 0 ? 0 : g.state.births[s * age + (seen + t + 1) % age];
}

// What a push leaves in the clock and in the ring of births; tokens [T + 1, S].
__device__ __forceinline__ void finish_stream(const GatePlan& g, int s) {
  const int64_t* tokens = g.scratch.tokens;
  const int64_t age = g.rules.max_age, seen = g.state.clock[2 * s];
  int64_t* births = g.state.births + s * age;
  for (int64_t i = g.times; seen == 0 && i < age; ++i) births[i] = 0;
  for (int64_t t = age < g.times ? g.times - age : 0; age > 0 && t < g.times; ++t)
    births[(seen + t) % age] = tokens[g.step(t, s)];
  g.state.clock[2 * s] = seen + g.times;
  g.state.clock[2 * s + 1] = tokens[g.step(g.times, s)];
}

}  // namespace patchgate
