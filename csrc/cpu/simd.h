// Instruction sets on the CPU: hot loops are plain C++ that the compiler vectorises, built once per
// level and chosen when the library loads.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PG_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PG_SIMD_CLONES
#endif

namespace patchgate {

inline const char* simd_level() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3 (AVX2)";
  return "x86-64 (SSE2)";
#elif defined(__aarch64__)
  return "aarch64 (NEON)";
#else
  return "the compiler's default";
#endif
}

}  // namespace patchgate
