// Vectors of the level that includes this (PG_LEVEL, PG_VECTOR_BYTES): what the compiler's vector
// extension lacks. Nothing from std:: here: a template of it built for one level could be the one
// that the linker keeps for all.
#pragma once

#ifdef __x86_64__
#include <immintrin.h>

// GCC 12 takes its own "undefined" operands for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <cmath>
#include <cstring>

#include "cpu/attention/residual_attention.h"

#define PG_INLINE static inline __attribute__((always_inline))

namespace patchgate::PG_LEVEL {
namespace {

template <class Real>
constexpr int kLanes = PG_VECTOR_BYTES / sizeof(Real);

template <class Element, int kBytes = PG_VECTOR_BYTES>
struct VectorOf {
  typedef Element type __attribute__((vector_size(kBytes)));
};
template <class Real>
using Vector = typename VectorOf<Real>::type;

template <class To, class From>
PG_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

template <class Real>
PG_INLINE Vector<Real> splat(Real value) {
  return value - Vector<Real>{};
}

// ---- memory

PG_INLINE Vector<float> load(const float* from) {
  Vector<float> out;
  std::memcpy(&out, from, sizeof(out));
  return out;
}

PG_INLINE Vector<double> load(const double* from) {
  Vector<double> out;
  std::memcpy(&out, from, sizeof(out));
  return out;
}

PG_INLINE Vector<float> load(const c10::BFloat16* from) {
  VectorOf<uint16_t, PG_VECTOR_BYTES / 2>::type half;
  std::memcpy(&half, from, sizeof(half));
  return bits_as<Vector<float>>(__builtin_convertvector(half, VectorOf<uint32_t>::type) << 16);
}

PG_INLINE Vector<float> load(const c10::Half* from) {
#if defined(__x86_64__) && PG_VECTOR_BYTES == 64
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__x86_64__) && PG_VECTOR_BYTES == 32
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vector<float> out;
  for (int i = 0; i < kLanes<float>; ++i) out[i] = from[i];
  return out;
#endif
}

// Asks for n numbers that will be read soon: rows that an index names lie anywhere, and no
// hardware foresees them.
template <class T>
PG_INLINE void prefetch(const T* from, int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < n; i += kLine) __builtin_prefetch(from + i);
}

// The first n numbers, then zeros; not a byte more is read.
template <class T>
PG_INLINE Vector<Work<T>> load_some(const T* from, int64_t n) {
#if defined(__x86_64__) && PG_VECTOR_BYTES == 64
  const auto mask = static_cast<__mmask16>((1u << n) - 1);
  if constexpr (std::is_same_v<T, float>) return _mm512_maskz_loadu_ps(mask, from);
  if constexpr (sizeof(T) == 2) {
    const __m256i some = _mm256_maskz_loadu_epi16(mask, from);
    return load(reinterpret_cast<const T*>(&some));
  }
#endif
  T lanes[kLanes<Work<T>>] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = from[i];
  return load(lanes);
}

template <class T>
PG_INLINE Vector<Work<T>> load_up_to(const T* from, int64_t n) {
  return n >= kLanes<Work<T>> ? load(from) : load_some(from, n);
}

template <class Real>
PG_INLINE void store(Real* to, Vector<Real> value) {
  std::memcpy(to, &value, sizeof(value));
}

// ---- lanes

// Lanes of a and b in turn: those of the lower halves, or of the upper ones.
template <bool kUpper, class V>
PG_INLINE V interleave(V a, V b) {
  constexpr int kHalf = kUpper ? sizeof(V) / sizeof(a[0]) / 2 : 0;
  constexpr int n = sizeof(V) / sizeof(a[0]);
#define PG_PAIR(i) kHalf + i, n + kHalf + i
  if constexpr (n == 16) {
    return __builtin_shufflevector(a, b, PG_PAIR(0), PG_PAIR(1), PG_PAIR(2), PG_PAIR(3), PG_PAIR(4),
                                   PG_PAIR(5), PG_PAIR(6), PG_PAIR(7));
  } else if constexpr (n == 8) {
    return __builtin_shufflevector(a, b, PG_PAIR(0), PG_PAIR(1), PG_PAIR(2), PG_PAIR(3));
  } else if constexpr (n == 4) {
    return __builtin_shufflevector(a, b, PG_PAIR(0), PG_PAIR(1));
  } else {
    return __builtin_shufflevector(a, b, PG_PAIR(0));
  }
#undef PG_PAIR
}

// Rows become columns: interleaving the first half of the rows with the second, once per bit.
template <class Real>
PG_INLINE void transpose(Vector<Real> (&rows)[kLanes<Real>]) {
  constexpr int n = kLanes<Real>;
#pragma GCC unroll 4
  for (int step = 1; step < n; step *= 2) {
    Vector<Real> next[n];
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = interleave<false>(rows[i], rows[i + n / 2]);
      next[2 * i + 1] = interleave<true>(rows[i], rows[i + n / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

// Lane i is the sum of the lanes of rows[i].
template <class Real>
PG_INLINE Vector<Real> sums(Vector<Real> (&rows)[kLanes<Real>]) {
#pragma GCC unroll 4
  for (int half = kLanes<Real> / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      rows[i] =
          interleave<false>(rows[i], rows[i + half]) + interleave<true>(rows[i], rows[i + half]);
    }
  }
  return rows[0];
}

template <class Real>
PG_INLINE Vector<Real> larger(Vector<Real> a, Vector<Real> b) {
  return a > b ? a : b;
}

// The sum of all lanes, and the largest: halves are folded onto each other.
template <class Real>
PG_INLINE Real sum(Vector<Real> v) {
#pragma GCC unroll 4
  for (int left = kLanes<Real>; left > 1; left /= 2)
    v = interleave<false>(v, v) + interleave<true>(v, v);
  return v[0];
}

template <class Real>
PG_INLINE Real largest(Vector<Real> v) {
#pragma GCC unroll 4
  for (int left = kLanes<Real>; left > 1; left /= 2)
    v = larger<Real>(interleave<false>(v, v), interleave<true>(v, v));
  return v[0];
}

// ---- exp, of arguments that are not above 0

// 2^n * p(r) with x = n ln 2 + r, |r| <= ln 2 / 2. p is the polynomial of degree 6 with p(0) = 1
// whose relative error is smallest (2e-9); with rounding the result is within 1.4 units in the last
// place (1.1 with fused multiply-add; every seventh float tried). Below -87, where results become
// subnormal: 0.
PG_INLINE Vector<float> exp(Vector<float> x) {
  const auto magic = splat(12582912.0f);  // 1.5 * 2^23: added, it leaves n in the low bits
  const Vector<float> shifted = x * 1.44269504f + magic;
  const Vector<float> n = shifted - magic;
  const Vector<float> r = x - n * 0.693145752f - n * 1.42860677e-6f;  // ln 2 in two parts
  Vector<float> p = r * 1.384364441e-3f + 8.374162950e-3f;
  p = p * r + 4.166800156e-2f;
  p = p * r + 0.1666643173f;
  p = p * r + 0.4999999404f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  using Bits = VectorOf<uint32_t>::type;
  const Bits exponent = (bits_as<Bits>(shifted) << 23) + 0x3f800000u;
  return x < -87.0f ? Vector<float>{} : p * bits_as<Vector<float>>(exponent);
}

PG_INLINE Vector<double> exp(Vector<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

}  // namespace
}  // namespace patchgate::PG_LEVEL
