// The frame grid's row passes in AVX2: 8 outputs and 8 taps of each at a time.
#pragma once

#include "cpu/frame_grid/frame_grid_rows.h"

#ifdef __x86_64__
#include <immintrin.h>

#define PG_AVX2 __attribute__((target("avx2")))

namespace patchgate::avx2 {

inline constexpr int64_t kTaps = 8;

// weights [padded / 8, taps / 8, half, parity, 4 outputs, 4 taps]. Outputs 0 1 4 5 of eight share a
// register, 2 3 6 7 the other: adding neighbours within 128-bit lanes then leaves all eight in
// order. Even and odd taps meet in separate multiply-adds.
inline int64_t slot(const ColumnTaps& taps, int64_t x, int64_t k) {
  const int64_t j = x % 8, half = (j >> 1) & 1, lane = (j & 1) + (j >> 2) * 2;
  const int64_t chunk = x / 8 * (taps.reach / kTaps) + k / kTaps;
  return ((chunk * 2 + half) * 2 + (k & 1)) * 16 + lane * 4 + k % kTaps / 2;
}

inline void lay_out(ColumnTaps& taps, int64_t in_width) {
  taps.reach = round_up(taps.table.count, kTaps);
  taps.first.assign(taps.padded, 0);
  taps.weights.assign(taps.padded * taps.reach, 0);
  const int64_t last = std::max<int64_t>(in_width - taps.reach, 0);
  for (int64_t x = 0; x < taps.table.out; ++x) {
    const int32_t* taps_x = taps.table.row(x);
    if (taps_x[0] < 0) continue;
    // Moved left where reading from here would leave the row.
    const int64_t from = std::min<int64_t>(taps_x[0], last);
    taps.first[x] = static_cast<int32_t>(from);
    for (int64_t k = 0; k < taps.table.count; ++k) {
      taps.weights[slot(taps, x, taps_x[0] - from + k)] = static_cast<int16_t>(taps_x[1 + k]);
    }
  }
}

// Eight samples each from four places: loads and blends, no shuffles.
PG_AVX2 inline __m256i load_four(const uint8_t* a, const uint8_t* b, const uint8_t* c,
                                 const uint8_t* d) {
  int64_t lanes[4];
  std::memcpy(&lanes[0], a, 8);
  std::memcpy(&lanes[1], b, 8);
  std::memcpy(&lanes[2], c, 8);
  std::memcpy(&lanes[3], d, 8);
  const __m256i ab =
      _mm256_blend_epi32(_mm256_set1_epi64x(lanes[0]), _mm256_set1_epi64x(lanes[1]), 0x0c);
  const __m256i cd =
      _mm256_blend_epi32(_mm256_set1_epi64x(lanes[2]), _mm256_set1_epi64x(lanes[3]), 0xc0);
  return _mm256_blend_epi32(ab, cd, 0xf0);
}

// Two partial sums for each of four outputs.
PG_AVX2 inline __m256i weigh(__m256i samples, const __m256i* weights /* [parity] */) {
  const __m256i even = _mm256_and_si256(samples, _mm256_set1_epi16(0xff));
  const __m256i odd = _mm256_srli_epi16(samples, 8);
  return _mm256_add_epi32(_mm256_madd_epi16(even, _mm256_loadu_si256(weights)),
                          _mm256_madd_epi16(odd, _mm256_loadu_si256(weights + 1)));
}

PG_AVX2 inline void horizontal(const uint8_t* even, const uint8_t* odd, const ColumnTaps& taps,
                               uint32_t* pair) {
  const auto* weights = reinterpret_cast<const __m256i*>(taps.weights.data());
  const __m256i half = _mm256_set1_epi32(kTapOne / 2);
  for (int64_t x = 0; x < taps.padded; x += 8) {
    const int32_t* at = taps.first.data() + x;
    __m256i even_a = _mm256_setzero_si256(), even_b = even_a, odd_a = even_a, odd_b = even_a;
    for (int64_t c = 0; c < taps.reach; c += kTaps, weights += 4) {
      const auto load = [&](const uint8_t* row, int i) PG_AVX2 {
        return load_four(row + c + at[i], row + c + at[i + 1], row + c + at[i + 4],
                         row + c + at[i + 5]);
      };
      even_a = _mm256_add_epi32(even_a, weigh(load(even, 0), weights));
      even_b = _mm256_add_epi32(even_b, weigh(load(even, 2), weights + 2));
      odd_a = _mm256_add_epi32(odd_a, weigh(load(odd, 0), weights));
      odd_b = _mm256_add_epi32(odd_b, weigh(load(odd, 2), weights + 2));
    }
    const __m256i low = _mm256_add_epi32(_mm256_hadd_epi32(even_a, even_b), half);
    const __m256i high = _mm256_add_epi32(_mm256_hadd_epi32(odd_a, odd_b), half);
    // Shifting the odd row left by 2 puts its result, bits 14 to 21, into the upper half.
    const __m256i two = _mm256_blend_epi16(_mm256_srli_epi32(low, kTapBits),
                                           _mm256_slli_epi32(high, 16 - kTapBits), 0xaa);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(pair + x), two);
  }
}

PG_AVX2 inline __m256i finish(__m256i sum, Levels levels) {
  const __m256i value = _mm256_srli_epi32(sum, kTapBits);
  const __m256i scaled = _mm256_mullo_epi32(value, _mm256_set1_epi32(levels.scale));
  return _mm256_srai_epi32(_mm256_add_epi32(scaled, _mm256_set1_epi32(levels.offset)), 16);
}

PG_AVX2 inline void vertical(const uint32_t* const* pairs, const uint32_t* weights, int64_t count,
                             Levels levels, uint8_t* out, int64_t width) {
  for (int64_t x = 0; x < width; x += kBlock) {
    __m256i a = _mm256_set1_epi32(kTapOne / 2), b = a;
    for (int64_t p = 0; p < count; ++p) {
      const auto* two = reinterpret_cast<const __m256i*>(pairs[p] + x);
      const __m256i weight = _mm256_set1_epi32(static_cast<int32_t>(weights[p]));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_loadu_si256(two), weight));
      b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_loadu_si256(two + 1), weight));
    }
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(finish(a, levels), finish(b, levels)), 0xd8);  // [16], in order
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (x + kBlock <= width) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x), bytes);
    } else {
      alignas(16) uint8_t last[kBlock];
      _mm_store_si128(reinterpret_cast<__m128i*>(last), bytes);
      std::memcpy(out + x, last, width - x);
    }
  }
}

inline RowPasses passes(ColumnTaps& taps, int64_t in_width) {
  lay_out(taps, in_width);
  return {horizontal, vertical};
}

}  // namespace patchgate::avx2

#undef PG_AVX2
#endif
