// The frame grid: both passes of the resize in one kernel, over tiles of the output. A block weighs
// the input rows under its tile across, rounds them to u8 in shared memory, and weighs those down.
// Each input row is read once, but for the few that two bands of tiles share.
#pragma once

#include <algorithm>

#include "cuda/bytes.h"
#include "frame_grid.h"

namespace patchgate {

inline constexpr int kGridColumns = 64;  // of a tile
inline constexpr int kGridRows = 16;
inline constexpr int kGridThreads = 256;
inline constexpr int kGridSlots = kGridThreads / kGridColumns;  // rows weighed across at once
inline constexpr int kMostGridRoom = 640;                       // 40 KB

template <typename Sample>
struct GridPlane {
  const Sample* data;                      // [T, H', W']
  int64_t frame_stride, row_stride, step;  // in samples; interleaved chroma has a step of 2
  const int32_t* taps_x;                   // [W, 1 + count_x]
  const int32_t* taps_y;                   // [H, 1 + count_y]
  int count_x, count_y;
  int last_x, last_y;  // where the last taps that fit begin; negative: none fit
  Levels levels;

  // The tables are not looked at before: whatever they say, only the plane is read.
  PG_HOST_DEVICE Taps column(int x) const {
    return within(taps_x + int64_t{x} * (1 + count_x), count_x, last_x);
  }
  PG_HOST_DEVICE Taps row(int y) const {
    return within(taps_y + int64_t{y} * (1 + count_y), count_y, last_y);
  }
  PG_HOST_DEVICE static Taps within(const int32_t* taps, int count, int last) {
    return {taps[0] < last ? taps[0] : last, taps + 1, count};
  }
};

// Of tables [., 1 + count] for planes of so many samples along an axis.
inline int last_taps(int64_t samples, int64_t count) {
  return static_cast<int>(std::clamp<int64_t>(samples - count, -1, INT32_MAX));
}

template <typename Sample>
struct GridPlan {
  GridPlane<Sample> planes[3];
  uint8_t* out;    // [T, 3, H, W]
  int64_t images;  // T * 3
  int height, width, bit_depth;
  int room;  // input rows that a block's memory holds

  PG_HOST_DEVICE int tiles_x() const { return (width + kGridColumns - 1) / kGridColumns; }
  PG_HOST_DEVICE int tiles_y() const { return (height + kGridRows - 1) / kGridRows; }
  PG_HOST_DEVICE int64_t tiles() const { return images * tiles_x() * tiles_y(); }
};

// Enough for every table of a triangle filter, whose neighbouring outputs lie about half of its
// taps apart. Tiles that need more do without.
inline int grid_room(int count_y) {
  const int rows = (kGridRows + 1) * (count_y + 1) / 2 + count_y;
  return rows < kMostGridRoom ? rows : kMostGridRoom;
}

struct GridShared {
  int32_t low, high;  // the input rows under the tile
  uint8_t rows[];     // [high - low, kGridColumns], weighed across
};

inline int grid_shared_bytes(int room) {
  return static_cast<int>(sizeof(GridShared)) + room * kGridColumns;
}

// A tile of one plane of one frame.
template <typename Sample>
struct GridTile {
  const GridPlan<Sample>& plan;
  const GridPlane<Sample>& plane;
  const Sample* data;  // [H', W']
  uint8_t* out;        // [H, W]
  int x, y;            // its corner

  __device__ __forceinline__ GridTile(const GridPlan<Sample>& plan, int64_t tile)
      : plan(plan), plane(plan.planes[tile / plan.tiles_x() / plan.tiles_y() % 3]) {
    const int64_t image = tile / plan.tiles_x() / plan.tiles_y();
    data = plane.data + image / 3 * plane.frame_stride;
    out = plan.out + image * plan.height * plan.width;
    x = static_cast<int>(tile % plan.tiles_x()) * kGridColumns;
    y = static_cast<int>(tile / plan.tiles_x() % plan.tiles_y()) * kGridRows;
  }
};

// By one warp. Rows outside the picture have a first tap of -1, the largest unsigned number: a tile
// of nothing else needs no rows.
template <typename Sample>
__device__ __forceinline__ void find_rows(const GridTile<Sample>& tile, GridShared& shared) {
  const int y = tile.y + lane();
  const bool there = lane() < kGridRows && y < tile.plan.height;
  const int first = there ? tile.plane.row(y).first : -1;
  const auto low = __reduce_min_sync(kAllLanes, static_cast<uint32_t>(first));
  const int high = __reduce_max_sync(kAllLanes, first < 0 ? 0 : first + tile.plane.count_y);
  if (lane() == 0) shared.low = high > 0 ? static_cast<int>(low) : 0, shared.high = high;
}

// Four taps a word of samples, as pairs of 16 bits, and zeros behind them.
template <int kWords>
struct PackedTaps {
  uint32_t pairs[2 * kWords];

  __device__ __forceinline__ PackedTaps(const int32_t* weights, int count) {
#pragma unroll
    for (int i = 0; i < 2 * kWords; ++i) {
      const uint32_t low = 2 * i < count ? weights[2 * i] : 0;
      const uint32_t high = 2 * i + 1 < count ? weights[2 * i + 1] : 0;
      pairs[i] = high << 16 | low;
    }
  }
};

// The horizontal pass of 8-bit rows: a thread keeps its column's taps, and weighs four samples with
// two instructions.
template <int kStep, int kWords>
__device__ __forceinline__ void weigh_words(const GridTile<uint8_t>& tile, GridShared& shared,
                                            int column) {
  const int count = tile.plane.count_x;
  const Taps taps = tile.plane.column(tile.x + column);
  const PackedTaps<kWords> packed(taps.weights, count);
  const uint8_t* first = tile.data + int64_t{taps.first} * kStep;
#pragma unroll 2
  for (int y = shared.low + threadIdx.x / kGridColumns; y < shared.high; y += kGridSlots) {
    RowReader reader(first + y * tile.plane.row_stride, (count - 1) * kStep + 1);
    uint32_t sum = 0;
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      uint32_t samples = reader.next();
      if constexpr (kStep == 2) samples = __byte_perm(samples, reader.next(), 0x6420);
      sum = __dp2a_lo(packed.pairs[2 * k], samples, sum);
      sum = __dp2a_hi(packed.pairs[2 * k + 1], samples, sum);
    }
    shared.rows[(y - shared.low) * kGridColumns + column] =
        static_cast<uint8_t>(round_taps(static_cast<int32_t>(sum)));
  }
}

// The same for any samples, steps and numbers of taps.
template <typename Sample>
__device__ __forceinline__ void weigh_samples(const GridTile<Sample>& tile, GridShared& shared,
                                              int column) {
  const GridPlane<Sample>& plane = tile.plane;
  const Taps taps = plane.column(tile.x + column);
  for (int y = shared.low + threadIdx.x / kGridColumns; y < shared.high; y += kGridSlots)
    shared.rows[(y - shared.low) * kGridColumns + column] = static_cast<uint8_t>(
        grid_row_sample(tile.data + y * plane.row_stride, taps, tile.plan.bit_depth, plane.step));
}

template <int kStep>
__device__ __forceinline__ void weigh_bytes(const GridTile<uint8_t>& tile, GridShared& shared,
                                            int column) {
  const int words = (tile.plane.count_x + 3) / 4;
  if (words <= 2) return weigh_words<kStep, 2>(tile, shared, column);
  if (words == 3) return weigh_words<kStep, 3>(tile, shared, column);
  if (words == 4) return weigh_words<kStep, 4>(tile, shared, column);
  if (words <= 8) return weigh_words<kStep, 8>(tile, shared, column);
  weigh_samples(tile, shared, column);
}

template <typename Sample>
__device__ __forceinline__ void weigh_across(const GridTile<Sample>& tile, GridShared& shared) {
  const int column = threadIdx.x % kGridColumns, x = tile.x + column;
  if (x >= tile.plan.width || tile.plane.column(x).first < 0) return;  // outside the picture
  if constexpr (sizeof(Sample) == 1) {
    if (tile.plane.step == 1) return weigh_bytes<1>(tile, shared, column);
    if (tile.plane.step == 2) return weigh_bytes<2>(tile, shared, column);
  }
  weigh_samples(tile, shared, column);
}

// The vertical pass: a thread makes four neighbours of one output row.
template <typename Sample>
__device__ __forceinline__ void weigh_down(const GridTile<Sample>& tile, const GridShared& shared) {
  const GridPlane<Sample>& plane = tile.plane;
  const int column = threadIdx.x % (kGridColumns / 4) * 4, x = tile.x + column;
  const int y = tile.y + threadIdx.x / (kGridColumns / 4);
  if (y >= tile.plan.height || x >= tile.plan.width) return;
  const Taps taps = plane.row(y);
  int32_t sums[4] = {};
  for (int k = 0; taps.first >= 0 && k < plane.count_y; ++k) {
    const int32_t weight = taps.weights[k];
    const uint8_t* row = shared.rows + (taps.first + k - shared.low) * kGridColumns + column;
    const uint32_t four = *reinterpret_cast<const uint32_t*>(row);
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += weight * static_cast<int32_t>(four >> 8 * i & 255);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (x + i >= tile.plan.width) break;
    const bool inside = taps.first >= 0 && plane.column(x + i).first >= 0;
    tile.out[int64_t{y} * tile.plan.width + x + i] =
        inside ? apply_levels(round_taps(sums[i]), plane.levels)
               : static_cast<uint8_t>(plane.levels.black);
  }
}

// A tile whose input rows do not fit: every output by itself.
template <typename Sample>
__device__ __forceinline__ void weigh_apart(const GridTile<Sample>& tile) {
  const GridPlane<Sample>& plane = tile.plane;
  for (int i = threadIdx.x; i < kGridRows * kGridColumns; i += kGridThreads) {
    const int x = tile.x + i % kGridColumns, y = tile.y + i / kGridColumns;
    if (x >= tile.plan.width || y >= tile.plan.height) continue;
    tile.out[int64_t{y} * tile.plan.width + x] =
        grid_sample(tile.data, plane.row_stride, plane.column(x), plane.row(y), tile.plan.bit_depth,
                    plane.levels, plane.step);
  }
}

template <typename Sample>
__global__ void __launch_bounds__(kGridThreads)
    frame_grid_kernel(const __grid_constant__ GridPlan<Sample> plan) {
  PG_SHARED(memory);
  auto& shared = *reinterpret_cast<GridShared*>(memory);
  for (int64_t i = blockIdx.x; i < plan.tiles(); i += gridDim.x) {
    const GridTile<Sample> tile(plan, i);
    if (warp() == 0) find_rows(tile, shared);
    __syncthreads();
    if (shared.high - shared.low > plan.room) {
      weigh_apart(tile);
    } else {
      weigh_across(tile, shared);
      __syncthreads();
      weigh_down(tile, shared);
    }
    __syncthreads();
  }
}

}  // namespace patchgate
