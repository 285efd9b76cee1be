// The frame grid's row passes in AVX-512 with byte permutes (VBMI) and dot products (VNNI): 16
// outputs at a time. A window of 64 samples is loaded once and the taps are picked out of it.
#pragma once

#include "cpu/frame_grid/frame_grid_rows.h"

#ifdef __x86_64__
#include <immintrin.h>

// GCC 12 takes its own "undefined" operands for a mistake (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define PG_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))

namespace patchgate::avx512 {

inline constexpr int64_t kTaps = 4, kWindow = 64;

// first [padded / 16, windows], index [padded / 16, taps / 4, 16 outputs, 4 taps] within the
// output's window, weights [padded / 16, taps / 4, parity, 16 outputs, 2 taps].
// False where the taps of 16 / windows neighbouring outputs lie too far apart for a window.
inline bool lay_out(ColumnTaps& taps, int64_t in_width, int64_t windows) {
  const int64_t outputs = kBlock / windows, chunks = round_up(taps.table.count, kTaps) / kTaps;
  const int64_t last = std::max<int64_t>(in_width - kWindow, 0);
  taps.reach = kWindow;
  taps.first.assign(taps.padded / outputs, 0);
  taps.index.assign(taps.padded * chunks * kTaps, 0);
  taps.weights.assign(taps.padded * chunks * kTaps, 0);
  for (int64_t begin = 0; begin < taps.table.out; begin += outputs) {
    const int64_t end = std::min(begin + outputs, taps.table.out);
    int64_t from = last;  // a window never leaves the row
    for (int64_t x = begin; x < end; ++x) {
      if (taps.table.row(x)[0] >= 0) from = std::min<int64_t>(from, taps.table.row(x)[0]);
    }
    taps.first[begin / outputs] = static_cast<int32_t>(from);
    for (int64_t x = begin; x < end; ++x) {
      const int32_t* taps_x = taps.table.row(x);
      if (taps_x[0] < 0) continue;
      const int64_t at = taps_x[0] - from;
      if (at + taps.table.count > kWindow) return false;
      for (int64_t k = 0; k < taps.table.count; ++k) {
        const int64_t chunk = x / kBlock * chunks + k / kTaps, j = x % kBlock, i = k % kTaps;
        taps.index[(chunk * kBlock + j) * kTaps + i] = static_cast<uint8_t>(at + k);
        taps.weights[((chunk * 2 + i % 2) * kBlock + j) * 2 + i / 2] =
            static_cast<int16_t>(taps_x[1 + k]);
      }
    }
  }
  return true;
}

// Four samples for each of 16 outputs.
template <int kWindows>
PG_AVX512 inline __m512i pick(const __m512i* windows, __m512i index) {
  __m512i samples = _mm512_permutexvar_epi8(index, windows[0]);
  for (int i = 1; i < kWindows; ++i) {
    const __mmask64 rest = ~uint64_t{0} << (64 / kWindows * i);
    samples = _mm512_mask_permutexvar_epi8(samples, rest, index, windows[i]);
  }
  return samples;
}

PG_AVX512 inline __m512i weigh(__m512i sum, __m512i samples,
                               const __m512i* weights /* [parity] */) {
  const __m512i even = _mm512_and_si512(samples, _mm512_set1_epi16(0xff));
  const __m512i odd = _mm512_srli_epi16(samples, 8);
  sum = _mm512_dpwssd_epi32(sum, even, _mm512_loadu_si512(weights));
  return _mm512_dpwssd_epi32(sum, odd, _mm512_loadu_si512(weights + 1));
}

template <int kWindows>
PG_AVX512 inline void horizontal(const uint8_t* even, const uint8_t* odd, const ColumnTaps& taps,
                                 uint32_t* pair) {
  const auto* index = reinterpret_cast<const __m512i*>(taps.index.data());
  const auto* weights = reinterpret_cast<const __m512i*>(taps.weights.data());
  const int32_t* first = taps.first.data();
  for (int64_t x = 0; x < taps.padded; x += kBlock, first += kWindows) {
    __m512i even_windows[kWindows], odd_windows[kWindows];
    for (int i = 0; i < kWindows; ++i) {
      even_windows[i] = _mm512_loadu_si512(even + first[i]);
      odd_windows[i] = _mm512_loadu_si512(odd + first[i]);
    }
    __m512i low = _mm512_set1_epi32(kTapOne / 2), high = low;
    for (int64_t k = 0; k < taps.table.count; k += kTaps, ++index, weights += 2) {
      const __m512i at = _mm512_loadu_si512(index);
      low = weigh(low, pick<kWindows>(even_windows, at), weights);
      high = weigh(high, pick<kWindows>(odd_windows, at), weights);
    }
    // Shifting the odd row left by 2 puts its result, bits 14 to 21, into the upper half.
    const __m512i two = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(low, kTapBits),
                                                _mm512_slli_epi32(high, 16 - kTapBits));
    _mm512_storeu_si512(pair + x, two);
  }
}

PG_AVX512 inline void vertical(const uint32_t* const* pairs, const uint32_t* weights, int64_t count,
                               Levels levels, uint8_t* out, int64_t width) {
  const __m512i scale = _mm512_set1_epi32(levels.scale), offset = _mm512_set1_epi32(levels.offset);
  for (int64_t x = 0; x < width; x += kBlock) {
    __m512i sum = _mm512_set1_epi32(kTapOne / 2);
    for (int64_t p = 0; p < count; ++p) {
      const __m512i weight = _mm512_set1_epi32(static_cast<int32_t>(weights[p]));
      sum = _mm512_dpwssd_epi32(sum, _mm512_loadu_si512(pairs[p] + x), weight);
    }
    const __m512i scaled = _mm512_mullo_epi32(_mm512_srli_epi32(sum, kTapBits), scale);
    const __m512i value = _mm512_srai_epi32(_mm512_add_epi32(scaled, offset), 16);
    const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(value, _mm512_setzero_si512()));
    const int64_t left = std::min(width - x, kBlock);
    _mm_mask_storeu_epi8(out + x, static_cast<__mmask16>((1 << left) - 1), bytes);
  }
}

// No passes where the taps lie too far apart: scales over about 12.
inline bool passes(ColumnTaps& taps, int64_t in_width, RowPasses& out) {
  if (lay_out(taps, in_width, 1)) {
    out = {horizontal<1>, vertical};
  } else if (lay_out(taps, in_width, 2)) {
    out = {horizontal<2>, vertical};
  } else if (lay_out(taps, in_width, 4)) {
    out = {horizontal<4>, vertical};
  } else {
    return false;
  }
  return true;
}

}  // namespace patchgate::avx512

#pragma GCC diagnostic pop
#undef PG_AVX512
#endif
