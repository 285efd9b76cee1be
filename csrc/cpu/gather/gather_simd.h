// The gather's inner loop in AVX2 and in AVX-512 with dot products (VNNI).
#pragma once

#include "gather.h"

namespace patchgate {
inline constexpr int64_t kLanes = 16;  // lanes come in multiples of this
}

#ifdef __x86_64__
#include <immintrin.h>

// GCC 12 takes its own "undefined" operands for a mistake (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define PG_AVX2 __attribute__((target("avx2")))
#define PG_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace patchgate {

namespace avx2 {

// high * 2048 + low, each 16 bit: the high parts of taps 0 and 2, of 1 and 3, then the low parts.
inline void pack_quad(const int32_t* quad, uint32_t* words) {
  for (int odd = 0; odd < 2; ++odd) {
    const int32_t a = quad[odd], b = quad[odd + 2];
    words[odd] = static_cast<uint16_t>(a >> 11) | static_cast<uint32_t>(b >> 11) << 16;
    words[odd + 2] = static_cast<uint32_t>((a & 2047) | (b & 2047) << 16);
  }
}

PG_AVX2 inline void weigh(const uint8_t* samples, int64_t stride, const uint32_t* weights,
                          int64_t quads, int64_t lanes, uint8_t* out) {
  const __m256i bytes = _mm256_set1_epi16(0xff);
  for (int64_t at = 0; at < lanes; at += 8) {
    __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(kFilterOne / 2);
    for (int64_t q = 0; q < quads; ++q) {
      const auto word = [&](int i) PG_AVX2 {
        return _mm256_set1_epi32(static_cast<int32_t>(weights[q * 4 + i]));
      };
      const __m256i four =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(samples + q * stride + at * 4));
      const __m256i even = _mm256_and_si256(four, bytes), odd = _mm256_srli_epi16(four, 8);
      high = _mm256_add_epi32(high, _mm256_add_epi32(_mm256_madd_epi16(even, word(0)),
                                                     _mm256_madd_epi16(odd, word(1))));
      low = _mm256_add_epi32(
          low, _mm256_add_epi32(_mm256_madd_epi16(even, word(2)), _mm256_madd_epi16(odd, word(3))));
    }
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 11), low);
    const __m256i value = _mm256_srai_epi32(sum, kFilterBits);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + at), _mm_packus_epi16(words, words));
  }
}

}  // namespace avx2

namespace avx512 {

// Three signed digits of 8 bits, 65536 * a + 256 * b + c: each a word of four taps.
inline void pack_quad(const int32_t* quad, uint32_t* words) {
  for (int d = 0; d < 4; ++d) words[d] = 0;
  for (int k = 0; k < 4; ++k) {
    const auto c = static_cast<int8_t>(quad[k]);
    const int32_t rest = (quad[k] - c) >> 8;
    const auto b = static_cast<int8_t>(rest);
    const auto a = static_cast<int8_t>((rest - b) >> 8);
    words[0] |= static_cast<uint32_t>(static_cast<uint8_t>(a)) << (8 * k);
    words[1] |= static_cast<uint32_t>(static_cast<uint8_t>(b)) << (8 * k);
    words[2] |= static_cast<uint32_t>(static_cast<uint8_t>(c)) << (8 * k);
  }
}

template <int kBlocks>
PG_AVX512 inline void weigh_blocks(const uint8_t* samples, int64_t stride, const uint32_t* weights,
                                   int64_t quads, uint8_t* out) {
  __m512i a[kBlocks], b[kBlocks], c[kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    a[i] = b[i] = _mm512_setzero_si512();
    c[i] = _mm512_set1_epi32(kFilterOne / 2);
  }
  for (int64_t q = 0; q < quads; ++q) {
    const __m512i weight_a = _mm512_set1_epi32(static_cast<int32_t>(weights[q * 4]));
    const __m512i weight_b = _mm512_set1_epi32(static_cast<int32_t>(weights[q * 4 + 1]));
    const __m512i weight_c = _mm512_set1_epi32(static_cast<int32_t>(weights[q * 4 + 2]));
    for (int i = 0; i < kBlocks; ++i) {
      const __m512i four = _mm512_loadu_si512(samples + q * stride + i * 4 * kLanes);
      a[i] = _mm512_dpbusd_epi32(a[i], four, weight_a);
      b[i] = _mm512_dpbusd_epi32(b[i], four, weight_b);
      c[i] = _mm512_dpbusd_epi32(c[i], four, weight_c);
    }
  }
  for (int i = 0; i < kBlocks; ++i) {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(a[i], 16), _mm512_slli_epi32(b[i], 8));
    const __m512i value = _mm512_srai_epi32(_mm512_add_epi32(upper, c[i]), kFilterBits);
    const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(value, _mm512_setzero_si512()));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * kLanes), bytes);
  }
}

inline void weigh(const uint8_t* samples, int64_t stride, const uint32_t* weights, int64_t quads,
                  int64_t lanes, uint8_t* out) {
  for (; lanes >= 2 * kLanes; lanes -= 2 * kLanes) {
    weigh_blocks<2>(samples, stride, weights, quads, out);
    samples += 2 * kLanes * 4, out += 2 * kLanes;
  }
  if (lanes > 0) weigh_blocks<1>(samples, stride, weights, quads, out);
}

}  // namespace avx512

}  // namespace patchgate

#pragma GCC diagnostic pop
#undef PG_AVX2
#undef PG_AVX512
#endif
