// CUDA on the CPU, for tests: the part of CUDA that the kernels (csrc/cuda/*.h) use, so that a C++
// compiler takes them as they are. Every thread of a block is a fiber; a fiber runs until it must
// wait for others, and who runs next is drawn by chance: a missing barrier shows as a wrong result.
// Barriers that not every thread reaches are found. Clocks, caches and real races are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define PG_SHARED(name) unsigned char* name = ::patchgate::emulate::shared_memory()

namespace patchgate {

namespace emulate {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

struct Launch {
  Index3 blocks, threads;
  size_t shared_bytes;
  unsigned resident;  // blocks that are there at once; 0: all, as in a cooperative launch
  uint32_t seed;      // of the order
};

// Runs a kernel; throws where threads wait for each other for ever, or where one failed.
void run(const Launch& launch, const std::function<void()>& kernel);

unsigned char* shared_memory();                    // of the block, full of rubbish when it starts
int wait_for_block(bool vote = false);             // until all of its threads are here: their votes
void wait_for_grid();                              // or all of all blocks
void yield();                                      // let others run: what a spinning loop must do
uint64_t* exchange(unsigned mask, uint64_t mine);  // of the warp's lanes, after all have come
void fail(const char* why);                        // run() throws this

}  // namespace emulate

extern emulate::Index3 threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { emulate::wait_for_block(); }
inline int __syncthreads_count(bool vote) { return emulate::wait_for_block(vote); }
inline void __syncwarp(unsigned mask = ~0u) { emulate::exchange(mask, 0); }
inline void grid_barrier() { emulate::wait_for_grid(); }
inline void spin() { emulate::yield(); }

// Device memory ends on a word, the heap may not: a sanitizer is to complain only of words of which
// no byte is in bounds.
#ifdef __SANITIZE_ADDRESS__
__attribute__((no_sanitize("address"), noinline)) inline uint32_t load_word(const uint32_t* word) {
  const auto* bytes = reinterpret_cast<const volatile char*>(word);
  bool known = false;
  for (int i = 0; i < 4; ++i) known |= !__asan_address_is_poisoned(bytes + i);
  if (!known) emulate::fail("a word was read that lies out of bounds");
  return *word;
}
#else
inline uint32_t load_word(const uint32_t* word) { return *word; }
#endif

inline void fail(const char* why) { emulate::fail(why); }

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  T result;
  std::memcpy(&result, emulate::exchange(mask, bits) + lane % 32, sizeof result);
  return result;
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  const unsigned lane = threadIdx.x % 32;  // of blocks that are one-dimensional
  return __shfl_sync(mask, value, static_cast<int>(lane < distance ? lane : lane - distance));
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ bits);
}

inline unsigned __ballot_sync(unsigned mask, bool vote) {
  const uint64_t* votes = emulate::exchange(mask, vote);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) ballot |= static_cast<unsigned>(votes[lane]) << lane;
  return ballot;
}

template <class T, class Fold>
T fold_lanes(unsigned mask, T value, Fold&& fold) {
  const uint64_t* values = emulate::exchange(mask, static_cast<uint64_t>(value));
  T result = static_cast<T>(values[0]);
  for (int lane = 1; lane < 32; ++lane) result = fold(result, static_cast<T>(values[lane]));
  return result;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value) {
  return fold_lanes(mask, value, [](T a, T b) { return a + b; });
}

template <class T>
T __reduce_min_sync(unsigned mask, T value) {
  return fold_lanes(mask, value, [](T a, T b) { return a < b ? a : b; });
}

template <class T>
T __reduce_max_sync(unsigned mask, T value) {
  return fold_lanes(mask, value, [](T a, T b) { return a > b ? a : b; });
}

template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at += value;
  return before;
}

template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  *at = before > value ? before : value;
  return before;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t shift) {
  return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> (shift & 31));
}

inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = uint64_t{high} << 32 | low;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<uint32_t>(bytes >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
  return result;
}

// Two 16-bit numbers times two bytes of the lower (or the upper) half of `bytes`, onto `sum`.
inline uint32_t __dp2a_lo(uint32_t pair, uint32_t bytes, uint32_t sum) {
  return sum + (pair & 0xFFFF) * (bytes & 255) + (pair >> 16) * (bytes >> 8 & 255);
}
inline uint32_t __dp2a_hi(uint32_t pair, uint32_t bytes, uint32_t sum) {
  return __dp2a_lo(pair, bytes >> 16, sum);
}

// Sum of the four absolute byte differences, onto `sum`.
inline uint32_t sad4(uint32_t a, uint32_t b, uint32_t sum) {
  for (int i = 0; i < 32; i += 8) {
    const int p = a >> i & 255, q = b >> i & 255;
    sum += static_cast<uint32_t>(p > q ? p - q : q - p);
  }
  return sum;
}

// Four bytes times four signed ones, onto `sum`.
inline int32_t dot4(uint32_t bytes, uint32_t signed_bytes, int32_t sum) {
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<int32_t>(bytes >> i & 255) * static_cast<int8_t>(signed_bytes >> i & 255);
  return sum;
}

}  // namespace patchgate
