// The vote for a moved cell's source, by one warp: cpu/gate/plurality.h's.
#pragma once

#include "cuda/device.h"

namespace patchgate {

inline constexpr int kFewIds = 16;  // counted one after the other; more are sorted

// Ids as unsigned numbers in the same order: those of a state from outside may be negative.
__device__ __forceinline__ uint32_t in_order(int32_t id) {
  return static_cast<uint32_t>(id) ^ 0x80000000u;
}
__device__ __forceinline__ int32_t id_in_order(uint32_t number) {
  return static_cast<int32_t>(number ^ 0x80000000u);
}

// The numbers of a cell's pixels, in rows of `stride`.
struct CellNumbers {
  uint32_t* first;
  int stride, cell;

  __device__ __forceinline__ uint32_t& operator[](int i) const {
    return first[int64_t{i / cell} * stride + i % cell];
  }
};

// Sorts them, by a bitonic network whose every comparison puts the lesser one first: what lies
// beyond the end counts as infinite, and stays there.
__device__ __forceinline__ void sort_numbers(CellNumbers numbers) {
  const int count = numbers.cell * numbers.cell;
  int all = 1;
  while (all < count) all *= 2;
  for (int size = 2; size <= all; size *= 2)
    for (int half = size / 2; half > 0; half /= 2) {
      for (int i = lane(); i < all / 2; i += kWarp) {
        const int block = i / half * 2 * half, at = i % half;
        const int a = block + at, b = half == size / 2 ? block + size - 1 - at : a + half;
        if (b >= count) continue;
        const uint32_t low = numbers[a], high = numbers[b];
        if (low > high) numbers[a] = high, numbers[b] = low;
      }
      __syncwarp();
    }
}

// How many of the sorted numbers are at most this one.
__device__ __forceinline__ int up_to(CellNumbers numbers, uint32_t number) {
  int low = 0, high = numbers.cell * numbers.cell;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (numbers[middle] <= number)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// However many there are. `spare` is room for a cell, in rows as those of the ids.
__device__ __forceinline__ int32_t sorted_plurality(const int32_t* ids, int stride, int cell,
                                                    int32_t* spare) {
  const CellNumbers numbers{reinterpret_cast<uint32_t*>(spare), stride, cell};
  for (int i = lane(); i < cell * cell; i += kWarp)
    numbers[i] = in_order(ids[int64_t{i / cell} * stride + i % cell]);
  __syncwarp();
  sort_numbers(numbers);
  uint32_t best = ~0u;
  int most = 0;
  for (int i = lane(); i < cell * cell; i += kWarp) {
    const uint32_t number = numbers[i];
    if (i > 0 && numbers[i - 1] == number) continue;
    const int votes = up_to(numbers, number) - i;
    if (votes > most) most = votes, best = number;  // a lane's come in rising order
  }
  const int winning = __reduce_max_sync(kAllLanes, most);
  return id_in_order(__reduce_min_sync(kAllLanes, most == winning ? best : ~0u));
}

// The ids in rising order, each counted in one pass over the block, until those not yet counted
// could not win any more.
__device__ __forceinline__ int32_t warp_plurality(const int32_t* ids, int stride, int cell,
                                                  int32_t* spare) {
  uint32_t best = 0, current = 0;  // the least there can be
  int most = 0, left = cell * cell;
  for (int passes = 0; left > most; ++passes) {
    if (passes == kFewIds) return sorted_plurality(ids, stride, cell, spare);
    int count = 0;
    uint32_t next = ~0u;
    for (int i = lane(); i < cell * cell; i += kWarp) {
      const uint32_t number = in_order(ids[int64_t{i / cell} * stride + i % cell]);
      count += number == current;
      if (number > current && number < next) next = number;
    }
    count = __reduce_add_sync(kAllLanes, count);
    next = __reduce_min_sync(kAllLanes, next);
    if (count > most) most = count, best = current;
    left -= count;
    current = next;
  }
  return id_in_order(best);
}

}  // namespace patchgate
