// Segments: some neighbouring cells of one row of cells, tested by one block, and what a frame
// leaves in their reference picture.
#pragma once

#include "cuda/gate/gate_cell.h"

namespace patchgate {

struct Segment {
  int s, first, count;  // stream, first cell, cells
};

__device__ __forceinline__ int segment_tasks(const GatePlan& g) {
  return g.streams * g.h * g.segments;
}

__device__ __forceinline__ Segment segment_of(const GatePlan& g, int task) {
  const int column = task % g.segments * g.segment, row = task / g.segments;
  const int count = g.w - column < g.segment ? g.w - column : g.segment;
  return {row / g.h, row % g.h * g.w + column, count};
}

// shared.cost of each of its cells under (0, 0): a thread takes one sub-block after another, its
// neighbour the one beside it. A first frame has nothing to be compared with. What was written
// before is seen by all; whoever reads a cell's cost also clears it for the next segment.
template <int kCell, int kSubBlock>
__device__ __forceinline__ void zero_test(const GatePlan& g, GateShared& shared, Segment segment,
                                          int t) {
  const Sides<kCell, kSubBlock> sides{g};
  const int parts = sides.parts(), b = sides.sub_block(), columns = segment.count * parts;
  const bool first = g.is_first(segment.s, t);
  for (int i = threadIdx.x; i < segment.count; i += kGateThreads) shared.cost[i] = first ? -1 : 0;
  __syncthreads();
  const int64_t at = g.offset(segment.first);
  const uint8_t *now = g.frame(segment.s, t) + at, *then = g.picture(segment.s) + at;
  for (int i = threadIdx.x; !first && i < g.cell_planes * parts * columns; i += kGateThreads) {
    const int column = i % columns, row = i / columns % parts, plane = i / columns / parts;
    const int64_t offset = plane * g.plane_bytes + int64_t{row * b} * g.width + column * b;
    const int32_t sad = words_sad<kSubBlock>(now + offset, then + offset, g.width, b);
    atomicMax(&shared.cost[column / parts], sad);
  }
  __syncthreads();
}

// One cell by one warp, pixel by pixel: rows have any alignment.
template <int kCell, class Element>
__device__ __forceinline__ void copy_cell(const GatePlan& g, const Element* from, Element* to,
                                          int planes) {
  const int p = kCell ? kCell : g.cell;
  for (int i = lane(); i < planes * p * p; i += kWarp) {
    const int64_t at = i / (p * p) * g.plane_bytes + int64_t{i / p % p} * g.width + i % p;
    to[at] = from[at];
  }
}

// All pixels of a cell come from one token; by one warp.
template <int kCell>
__device__ __forceinline__ void fill_ids(const GatePlan& g, int s, int n, int32_t id) {
  const int p = kCell ? kCell : g.cell;
  int32_t* ids = g.ids(s) + g.offset(n);
  for (int i = lane(); i < p * p; i += kWarp) ids[int64_t{i / p} * g.width + i % p] = id;
}

// What frame t leaves in the reference picture: changed cells get its pixels and their new token,
// moved ones the displaced blocks that were put by.
template <int kCell>
__device__ __forceinline__ void update_segment(const GatePlan& g, Segment segment, int t) {
  const int s = segment.s;
  for (int i = warp(); i < segment.count; i += kGateWarps) {
    const int n = segment.first + i;
    const int64_t at = g.offset(n), cell = g.at(s, t) + n;
    const uint8_t kind = g.result.kind[cell];
    if (kind == kChanged) {
      copy_cell<kCell>(g, g.frame(s, t) + at, g.picture(s) + at, g.cell_planes);
      fill_ids<kCell>(g, s, n, static_cast<int32_t>(g.result.source[cell]));
    } else if (kind == kMoved) {
      copy_cell<kCell>(g, g.displaced(s, n), g.picture(s) + at, g.cell_planes);
      copy_cell<kCell>(g, g.displaced_ids(s, n), g.ids(s) + at, 1);
    }
  }
}

}  // namespace patchgate
