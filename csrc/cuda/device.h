// What the kernels use of CUDA beyond its built-in words. Tests compile them against an emulation
// of both, on the CPU. Kernels know no torch.
#pragma once

#include "portable.h"

#ifdef __CUDACC__

#include <cooperative_groups.h>
#include <cuda_runtime.h>

#define PG_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// The device's own; <cassert> would leave it out of release builds.
extern "C" __device__ void __assertfail(const char* message, const char* file, unsigned line,
                                        const char* function, size_t character_bytes) noexcept;

namespace patchgate {

// All threads of all blocks; only in a cooperative launch. What was written before is seen after.
__device__ __forceinline__ void grid_barrier() { cooperative_groups::this_grid().sync(); }

// Stops everything with a message on stderr and cudaErrorAssert, as torch does for a bad index:
// what a kernel has to say cannot wait for the host to ask.
__device__ __forceinline__ void fail(const char* why) {
  __assertfail(why, "patchgate", 0, "", sizeof(char));
}

// In a loop that waits for another block.
__device__ __forceinline__ void spin() { __nanosleep(32); }

// An aligned word of which at least one byte is in bounds. Allocations on the device begin and end
// on words, so that all of it can be read.
__device__ __forceinline__ uint32_t load_word(const uint32_t* word) { return *word; }

// Sum of the four absolute byte differences, onto `sum`: one instruction. (__vsadu4 adds by
// another.)
__device__ __forceinline__ uint32_t sad4(uint32_t a, uint32_t b, uint32_t sum) {
  uint32_t out;
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(sum));
  return out;
}

// Four bytes times four signed ones, onto `sum`. (__dp4a has both of one kind.)
__device__ __forceinline__ int32_t dot4(uint32_t bytes, uint32_t signed_bytes, int32_t sum) {
  int32_t out;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(bytes), "r"(signed_bytes), "r"(sum));
  return out;
}

}  // namespace patchgate

#else
#include "tested/emulated/cuda.h"
#endif

namespace patchgate {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = ~0u;

__device__ __forceinline__ int lane() { return threadIdx.x % kWarp; }
__device__ __forceinline__ int warp() { return threadIdx.x / kWarp; }

// The sum of `value` over the threads before this one, in a block of kThreads; `total` of all.
// Every thread must come; `sums` [kThreads / 32] is free again after the next barrier.
template <int kThreads>
__device__ __forceinline__ int block_scan(int value, int* sums, int& total) {
  int inclusive = value;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int other = __shfl_up_sync(kAllLanes, inclusive, distance);
    if (lane() >= distance) inclusive += other;
  }
  if (lane() == kWarp - 1) sums[warp()] = inclusive;
  __syncthreads();
  int before = 0;
  total = 0;
#pragma unroll
  for (int w = 0; w < kThreads / kWarp; ++w) {
    before += w < warp() ? sums[w] : 0;
    total += sums[w];
  }
  return before + inclusive - value;
}

}  // namespace patchgate
