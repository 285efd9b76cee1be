// The light of a frame: its weights, found by one block for a stream, and the cells of the
// reference that follow it.
#pragma once

#include "cuda/gate/gate_segment.h"

namespace patchgate {

// Whether a kept cell shows its token in a light too far from the token's own. A thread takes a
// cell; its block lies `whole` pixels from its place.
__device__ __forceinline__ bool in_strange_light(const GatePlan& g, int s, int n, Vector whole) {
  const int top = g.top(n) + whole.dy, left = g.left(n) + whole.dx;
  const int y0 = top / g.cell * g.w, y1 = (top + g.cell - 1) / g.cell * g.w;
  const int x0 = left / g.cell, x1 = (left + g.cell - 1) / g.cell;
  for (int i = 0; i < g.cell_planes * kLightParts; ++i) {
    const int32_t* light = g.light(s, i);
    const int k = i % kLightParts;
    const int32_t above = widest(light[y0 + x0], light[y0 + x1], k);
    if (is_too_far(widest(above, widest(light[y1 + x0], light[y1 + x1], k), k), k)) return true;
  }
  return false;
}

// Puts by what the displaced blocks of a moved cell have gone through, by one warp.
__device__ __forceinline__ void save_light(const GatePlan& g, int s, int n, Vector whole) {
  const int top = g.top(n) + whole.dy, left = g.left(n) + whole.dx;
  const int y0 = top / g.cell * g.w, y1 = (top + g.cell - 1) / g.cell * g.w;
  const int x0 = left / g.cell, x1 = (left + g.cell - 1) / g.cell;
  for (int i = lane(); i < g.cell_planes * kLightParts; i += kWarp) {
    const int32_t* light = g.light(s, i);
    const int k = i % kLightParts;
    const int32_t above = widest(light[y0 + x0], light[y0 + x1], k);
    g.moved_light(s, i)[n] = widest(above, widest(light[y1 + x0], light[y1 + x1], k), k);
  }
}

// What frame t leaves of the light of a segment's cells.
__device__ __forceinline__ void update_light(const GatePlan& g, Segment segment, int t) {
  const int parts = g.cell_planes * kLightParts;
  for (int i = threadIdx.x; i < segment.count * parts; i += kGateThreads) {
    const int n = segment.first + i % segment.count, part = i / segment.count;
    const uint8_t kind = g.result.kind[g.at(segment.s, t) + n];
    if (kind == kChanged) g.light(segment.s, part)[n] = fresh_light(part % kLightParts);
    if (kind == kMoved) g.light(segment.s, part)[n] = g.moved_light(segment.s, part)[n];
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

// One stream's cells that the weights are found in, where the light is in doubt: the places of the
// first glance, or one in `stride`.
struct LightSample {
  const GatePlan& g;
  int s, t;
  bool glance;
  int slots, wanted;

  __device__ __forceinline__ int cell(int i) const {
    return glance ? static_cast<int>(glance_place(i, g.h, g.w)) : i * g.light_stride;
  }
  __device__ __forceinline__ int32_t& error(int i) const {
    const int64_t first = int64_t{s} * (kLightGlance + g.light_slots);
    return g.scratch.light_errors[first + (glance ? 0 : kLightGlance) + i];
  }
  __device__ __forceinline__ LightSums sums(int i, int plane) const {
    const int64_t at = plane * g.plane_bytes + g.offset(cell(i));
    return light_sums(g.picture(s) + at, g.frame(s, t) + at, g.width, g.cell);
  }
};

// Takes the cells of a sample, by one block.
__device__ __forceinline__ void take_sample(LightSample& sample, GateShared& shared, bool glance) {
  const GatePlan& g = sample.g;
  sample.glance = glance, sample.slots = glance ? kLightGlance : g.light_slots;
  const int32_t* costs = g.result.cost + g.at(sample.s, sample.t);
  int wanted = 0;
  for (int i = threadIdx.x; i < sample.slots; i += kGateThreads) {
    const int n = sample.cell(i);
    const bool doubt = in_doubtful_light(costs[n], g.plain_limit(n));
    sample.error(i) = doubt ? 0 : -1;
    wanted += doubt;
  }
  block_scan<kGateThreads>(wanted, shared.sums, sample.wanted);
  __syncthreads();
}

__device__ __forceinline__ int64_t light_total(const GateShared& shared, int i) {
  return static_cast<int64_t>(shared.light[i]);
}

__device__ __forceinline__ void add_light(GateShared& shared, int i, int64_t value) {
  atomicAdd(&shared.light[i], static_cast<unsigned long long>(value));
}

__device__ __forceinline__ void clear_light(GateShared& shared) {
  __syncthreads();
  if (threadIdx.x < kLightTotals) shared.light[threadIdx.x] = 0;
  __syncthreads();
}

// The line through the cells whose error is at most `worst`, known to the whole block.
__device__ __forceinline__ LightWeights line_of(const LightSample& sample, GateShared& shared,
                                                int plane, int32_t worst) {
  clear_light(shared);
  LightSums mine{};
  int kept = 0;
  for (int i = threadIdx.x; i < sample.slots; i += kGateThreads) {
    const int32_t error = sample.error(i);
    if (error < 0 || error > worst) continue;
    add(mine, sample.sums(i, plane));
    ++kept;
  }
  if (kept > 0) {
    add_light(shared, 0, mine.x), add_light(shared, 1, mine.y), add_light(shared, 2, mine.xx);
    add_light(shared, 3, mine.xy), add_light(shared, 4, kept);
  }
  __syncthreads();
  const LightSums all{light_total(shared, 0), light_total(shared, 1), light_total(shared, 2),
                      light_total(shared, 3), 0};
  return light_line(all, light_total(shared, 4));
}

// The weights of one plane, found in a sample; (1, 0): they leave too much of it. By one block.
__device__ __forceinline__ LightWeights fit_plane(const LightSample& sample, GateShared& shared,
                                                  int plane) {
  if (sample.wanted == 0) return same_light();
  int32_t worst = INT32_MAX;
  LightWeights line{};
#pragma unroll 1
  for (int round = 0; round <= kLightRounds; ++round) {
    line = line_of(sample, shared, plane, worst);
    if (round == kLightRounds) break;
    for (int i = threadIdx.x; i < sample.slots; i += kGateThreads)
      if (sample.error(i) >= 0) sample.error(i) = light_error(sample.sums(i, plane), line);
    __syncthreads();
    const int rank = 3 * (sample.wanted - 1) / 4;
    worst = select_cost(&sample.error(0), sample.slots, rank, shared);
    worst = worst > kLightSlack ? worst : kLightSlack;
  }
  clear_light(shared);
  int64_t before = 0, after = 0;
  for (int i = threadIdx.x; i < sample.slots; i += kGateThreads) {
    if (sample.error(i) < 0) continue;
    const LightSums sums = sample.sums(i, plane);
    before += capped_error(sums, same_light()), after += capped_error(sums, line);
  }
  add_light(shared, 0, before), add_light(shared, 1, after);
  __syncthreads();
  const int64_t eighths = sample.glance ? kGlanceLeaves : kLightLeaves;
  const bool helps = light_helps(light_total(shared, 0), light_total(shared, 1), eighths);
  return helps ? line : same_light();
}

// The weights of every stream's frame; a block takes a stream.
__device__ __forceinline__ void light_stage(const GatePlan& g, GateShared& shared, int t) {
  for (int s = blockIdx.x; s < g.streams; s += gridDim.x) {
    int doubtful = 0, all_doubtful;
    for (int n = threadIdx.x; n < g.cells; n += kGateThreads) {
      doubtful +=
          !g.is_first(s, t) && in_doubtful_light(g.result.cost[g.at(s, t) + n], g.plain_limit(n));
      g.result.lit[g.at(s, t) + n] = false;
    }
    block_scan<kGateThreads>(doubtful, shared.sums, all_doubtful);
    __syncthreads();
    const bool looks = !g.is_first(s, t) && kLightQuorum * all_doubtful >= g.cells;
    LightSample sample{g, s, t, false, 0, 0};
    bool relit = false;
    LightWeights luma = same_light();
#pragma unroll 1
    for (int p = 0; p < g.cell_planes; ++p) {
      LightWeights weights = same_light();
      const bool is_luma = p % g.colours == 0;
      int left = !looks ? 0 : is_luma ? 2 : is_same(luma) ? 0 : 1;  // samples to look at
#pragma unroll 1
      for (; left > 0; --left) {
        take_sample(sample, shared, left == 2);
        weights = fit_plane(sample, shared, p);
        if (is_same(weights)) break;
      }
      if (is_luma) luma = weights;
      relit |= !is_same(weights);
      if (threadIdx.x == 0) {
        g.weights(s, t)[2 * p] = weights.gain;
        g.weights(s, t)[2 * p + 1] = weights.offset;
      }
      __syncthreads();
    }
    if (relit && threadIdx.x == 0) g.scratch.relit[t] = g.scratch.relit_stream[g.step(t, s)] = 1;
  }
}

__device__ __forceinline__ LightWeights weights_of(const GatePlan& g, int s, int t, int plane) {
  return {g.weights(s, t)[2 * plane], g.weights(s, t)[2 * plane + 1]};
}

// shared.cost of a segment's cells under (0, 0), in the frame's light. As zero_test, byte by byte.
template <int kCell, int kSubBlock>
__device__ __forceinline__ void lit_test(const GatePlan& g, GateShared& shared, Segment segment,
                                         int t) {
  const Sides<kCell, kSubBlock> sides{g};
  const int parts = sides.parts(), b = sides.sub_block(), columns = segment.count * parts;
  for (int i = threadIdx.x; i < segment.count; i += kGateThreads) shared.cost[i] = 0;
  __syncthreads();
  const int64_t at = g.offset(segment.first);
  const uint8_t *now = g.frame(segment.s, t) + at, *then = g.picture(segment.s) + at;
  for (int i = threadIdx.x; i < g.cell_planes * parts * columns; i += kGateThreads) {
    const int column = i % columns, row = i / columns % parts, plane = i / columns / parts;
    const int64_t offset = plane * g.plane_bytes + int64_t{row * b} * g.width + column * b;
    const LightWeights weights = weights_of(g, segment.s, t, plane);
    int32_t sad = 0;
#pragma unroll 1
    for (int y = 0; y < b; ++y)
#pragma unroll 1
      for (int x = 0; x < b; ++x) {
        const int64_t pixel = offset + int64_t{y} * g.width + x;
        sad += absolute_difference(now[pixel], weighed(then[pixel], weights));
      }
    atomicMax(&shared.cost[column / parts], sad);
  }
  __syncthreads();
}

// Whether a cell that took frame t's weights would show its token in a light near enough to its
// own.
__device__ __forceinline__ bool stays_near(const GatePlan& g, int s, int n, int t) {
  for (int part = 0; part < g.cell_planes * kLightParts; ++part) {
    const int k = part % kLightParts;
    const LightWeights weights = weights_of(g, s, t, part / kLightParts);
    if (is_too_far(composed(g.light(s, part)[n], weights, k), k)) return false;
  }
  return true;
}

// Brings the cells that follow the light to it, and notes what the zero test makes of them.
template <int kCell, int kSubBlock>
__device__ __forceinline__ void relight_stage(const GatePlan& g, GateShared& shared, int t) {
  const int p = kCell ? kCell : g.cell;
  for (int task = blockIdx.x; task < segment_tasks(g); task += gridDim.x) {
    const Segment segment = segment_of(g, task);
    const int s = segment.s;
    if (g.scratch.relit_stream[g.step(t, s)] == 0) continue;
    lit_test<kCell, kSubBlock>(g, shared, segment, t);
    for (int i = threadIdx.x; i < segment.count; i += kGateThreads) {
      const int n = segment.first + i;
      int32_t& cost = g.result.cost[g.at(s, t) + n];
      const bool lit = takes_light(cost, shared.cost[i], g.plain_limit(n), stays_near(g, s, n, t));
      g.result.lit[g.at(s, t) + n] = lit;
      if (lit) cost = shared.cost[i];
      for (int part = 0; lit && part < g.cell_planes * kLightParts; ++part) {
        int32_t& total = g.light(s, part)[n];
        total = composed(total, weights_of(g, s, t, part / kLightParts), part % kLightParts);
      }
    }
    __syncthreads();
    for (int j = warp(); j < segment.count; j += kGateWarps) {
      const int n = segment.first + j;
      if (!g.result.lit[g.at(s, t) + n]) continue;
      uint8_t* picture = g.picture(s) + g.offset(n);
      for (int i = lane(); i < g.cell_planes * p * p; i += kWarp) {
        const int plane = i / (p * p);
        uint8_t& pixel = picture[plane * g.plane_bytes + int64_t{i / p % p} * g.width + i % p];
        pixel = weighed(pixel, weights_of(g, s, t, plane));
      }
    }
    __syncthreads();
  }
}

}  // namespace patchgate
