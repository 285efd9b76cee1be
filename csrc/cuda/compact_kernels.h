// Compaction: one pass over the kinds, in tiles. A tile learns how many cells changed before it
// from the tiles before it, as they get to know it themselves: decoupled look-back (Merrill and
// Garland, "Single-pass Parallel Prefix Scan with Decoupled Look-back", NVIDIA NVR-2016-002).
#pragma once

#include "cuda/device.h"
#include "gate.h"

namespace patchgate {

inline constexpr int kCompactThreads = 256;
inline constexpr int kCompactItems = 16;  // cells of a thread
inline constexpr int kCompactTile = kCompactThreads * kCompactItems;

struct CompactPlan {
  const uint8_t* kind;        // [F, N]
  int64_t frames, per_frame;  // F, N
  int64_t capacity;
  int64_t* index;              // [capacity]
  int32_t* cu_seqlens;         // [F + 1]
  int64_t* count;              // [1]
  int32_t* next_tile;          // [1] starts as 0
  unsigned long long* status;  // [tiles] start as 0

  PG_HOST_DEVICE int64_t cells() const { return frames * per_frame; }
  PG_HOST_DEVICE int64_t tiles() const {  // one at least, which writes the sums of nothing
    const int64_t full = (cells() + kCompactTile - 1) / kCompactTile;
    return full > 0 ? full : 1;
  }
  PG_HOST_DEVICE int32_t clamped(int64_t count) const {
    return static_cast<int32_t>(count < capacity ? count : capacity);
  }
};

// A tile's status is one word, so that it is read whole: what is known of it, and the number.
inline constexpr unsigned long long kOwnCount = 1ull << 62;  // its own changed cells
inline constexpr unsigned long long kSumSoFar = 2ull << 62;  // its own and all before it
inline constexpr unsigned long long kNumber = kOwnCount - 1;

struct CompactShared {
  int32_t sums[kCompactThreads / kWarp];
  int32_t tile;
  int64_t before;
};

// The thread's changed cells as bits, from the one at `begin` on.
__device__ __forceinline__ uint32_t changed_bits(const uint8_t* kind, int64_t begin,
                                                 int64_t cells) {
  uint32_t bits = 0;
  if (begin + kCompactItems <= cells && reinterpret_cast<uintptr_t>(kind + begin) % 8 == 0) {
    const auto* words = reinterpret_cast<const uint64_t*>(kind + begin);
#pragma unroll
    for (int i = 0; i < kCompactItems; ++i)
      bits |= static_cast<uint32_t>((words[i / 8] >> i % 8 * 8 & 255) == kChanged) << i;
  } else {
    for (int i = 0; i < kCompactItems && begin + i < cells; ++i)
      bits |= static_cast<uint32_t>(kind[begin + i] == kChanged) << i;
  }
  return bits;
}

// How many cells changed in the tiles before this one; by one warp, which looks at 32 of them at a
// time, back to the nearest that knows its sum.
__device__ __forceinline__ int64_t look_back(const CompactPlan& plan, int tile) {
  const volatile unsigned long long* status = plan.status;
  int64_t before = 0;
  for (int nearest = tile - 1; nearest >= 0; nearest -= kWarp) {
    const int mine = nearest - lane();
    unsigned long long found = mine >= 0 ? status[mine] : kSumSoFar;
    while (__ballot_sync(kAllLanes, found == 0) != 0) {
      spin();
      if (found == 0) found = status[mine];
    }
    const unsigned sums = __ballot_sync(kAllLanes, (found & kSumSoFar) != 0);
    const int used = sums == 0 ? kWarp : __popc((sums & -sums) - 1) + 1;
    long long number = lane() < used ? static_cast<long long>(found & kNumber) : 0;
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      number += __shfl_xor_sync(kAllLanes, number, distance);
    before += number;
    if (sums != 0) break;
  }
  return before;
}

// Slots past the changed cells hold -1. A cell that did not change writes one of them: counted from
// the end there are as many such slots as such cells, so that nobody needs to know the total.
__device__ __forceinline__ void write_cells(const CompactPlan& plan, int64_t begin, uint32_t bits,
                                            int64_t before) {
  const int64_t cells = plan.cells();
  for (int i = 0; i < kCompactItems && begin + i < cells; ++i) {
    const int64_t cell = begin + i, changed = before + __popc(bits & ((1u << i) - 1));
    const bool is_changed = bits >> i & 1;
    const int64_t slot = is_changed ? changed : cells - 1 - (cell - changed);
    if (slot < plan.capacity) plan.index[slot] = is_changed ? cell : -1;
  }
}

// The sums at the frames that begin among the thread's cells.
__device__ __forceinline__ void write_sums(const CompactPlan& plan, int64_t begin, uint32_t bits,
                                           int64_t before) {
  const int64_t end = begin + kCompactItems < plan.cells() ? begin + kCompactItems : plan.cells();
  if (begin >= end) return;
  int64_t frame = (begin + plan.per_frame - 1) / plan.per_frame;
  for (int64_t first = frame * plan.per_frame; first < end; ++frame, first += plan.per_frame)
    plan.cu_seqlens[frame] = plan.clamped(before + __popc(bits & ((1u << (first - begin)) - 1)));
}

// What no cell writes: slots beyond the number of cells, and the sums of frames without cells.
__device__ __forceinline__ void write_rest(const CompactPlan& plan, int64_t tile) {
  const int64_t first = tile * kCompactThreads + threadIdx.x;
  const int64_t step = plan.tiles() * kCompactThreads;
  for (int64_t i = plan.cells() + first; i < plan.capacity; i += step) plan.index[i] = -1;
  for (int64_t i = first; plan.per_frame == 0 && i < plan.frames; i += step) plan.cu_seqlens[i] = 0;
}

// Tiles are handed out in the order in which blocks start: those before a tile are under way, so
// that waiting for them ends.
__global__ void __launch_bounds__(kCompactThreads)
    compact_kernel(const __grid_constant__ CompactPlan plan) {
  PG_SHARED(memory);
  auto& shared = *reinterpret_cast<CompactShared*>(memory);
  if (threadIdx.x == 0) shared.tile = atomicAdd(plan.next_tile, 1);
  __syncthreads();
  const int tile = shared.tile;
  const int64_t begin = (int64_t{tile} * kCompactThreads + threadIdx.x) * kCompactItems;
  const uint32_t bits = changed_bits(plan.kind, begin, plan.cells());
  int total;
  const int rank = block_scan<kCompactThreads>(__popc(bits), shared.sums, total);
  if (warp() == 0) {
    volatile unsigned long long* status = plan.status + tile;
    if (lane() == 0) *status = kOwnCount | static_cast<unsigned long long>(total);
    const int64_t before = look_back(plan, tile);
    if (lane() == 0) {
      *status = kSumSoFar | static_cast<unsigned long long>(before + total);
      shared.before = before;
    }
  }
  __syncthreads();
  write_cells(plan, begin, bits, shared.before + rank);
  write_sums(plan, begin, bits, shared.before + rank);
  write_rest(plan, tile);
  if (tile == plan.tiles() - 1 && threadIdx.x == 0) {
    *plan.count = shared.before + total;
    plan.cu_seqlens[plan.frames] = plan.clamped(shared.before + total);
  }
}

}  // namespace patchgate
