// Squared Euclidean distances of rows, in float32 lanes that are summed up in float64.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "cpu/simd.h"

namespace patchgate {

typedef float DistanceLanes __attribute__((vector_size(64)));
inline constexpr int64_t kDistanceLanes = 16;
inline constexpr int64_t kDistanceStep = 256;  // numbers between two looks at the limit

// |a - b|^2 of n numbers; infinity as soon as it is known to reach the limit. What is summed never
// falls, so that a row found too far is too far.
PG_SIMD_CLONES inline double squared_distance(const float* a, const float* b, int64_t n,
                                              double limit) {
  DistanceLanes first = {}, second = {};
  double total = 0;
  int64_t i = 0;
  while (i < n) {
    const int64_t stop = n - i < kDistanceStep ? n : i + kDistanceStep;
    for (; i + 2 * kDistanceLanes <= stop; i += 2 * kDistanceLanes) {
      DistanceLanes x, y, u, v;
      std::memcpy(&x, a + i, sizeof(x));
      std::memcpy(&y, b + i, sizeof(y));
      std::memcpy(&u, a + i + kDistanceLanes, sizeof(u));
      std::memcpy(&v, b + i + kDistanceLanes, sizeof(v));
      first += (x - y) * (x - y);
      second += (u - v) * (u - v);
    }
    for (; i < stop; ++i) {
      const float difference = a[i] - b[i];
      first[i % kDistanceLanes] += difference * difference;
    }
    total = 0;
    const DistanceLanes lanes = first + second;
    for (int64_t l = 0; l < kDistanceLanes; ++l) total += lanes[l];
    if (total >= limit) return std::numeric_limits<double>::infinity();
  }
  return total;
}

}  // namespace patchgate
