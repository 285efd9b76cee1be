// The frame grid's two passes over rows, for the CPU. Both work on pairs of input rows: the
// horizontal pass leaves row 2p in the low and row 2p + 1 in the high half of a 32-bit word, which
// is what one multiply-add instruction of the vertical pass takes.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "frame_grid.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace patchgate {

// Rows of this many bytes may be read by the vector code whatever their width: shorter ones are
// copied. Outputs are padded to a multiple of kBlock.
inline constexpr int64_t kChunk = 8;
inline constexpr int64_t kBlock = 16;

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct TapTable {
  const int32_t* data;  // [out, 1 + count]
  int64_t out;
  int64_t count;
  const int32_t* row(int64_t i) const { return data + i * (1 + count); }
};

// Horizontal taps laid out for the vector code: 8 outputs at a time, 8 taps of each at a time.
struct ColumnTaps {
  TapTable table;
  int64_t padded;                // outputs, rounded up to kBlock
  int64_t reach;                 // samples that one output reads: taps rounded up to kChunk
  std::vector<int32_t> first;    // [padded]
  std::vector<int16_t> weights;  // [padded / 8, reach / 8, half, parity, 4 outputs, 4 taps]
  std::vector<int32_t> outside;  // columns beside the picture

  ColumnTaps(TapTable taps, int64_t in_width)
      : table(taps),
        padded(round_up(taps.out, kBlock)),
        reach(round_up(taps.count, kChunk)),
        first(padded),
        weights(padded * reach) {
    for (int64_t x = 0; x < table.out; ++x) {
      const int32_t* taps_x = table.row(x);
      if (taps_x[0] < 0) {
        outside.push_back(static_cast<int32_t>(x));
        continue;
      }
      // Moved left where eight samples from here would leave the row.
      const int64_t last = in_width > reach ? in_width - reach : 0;
      const int64_t from = taps_x[0] < last ? taps_x[0] : last;
      first[x] = static_cast<int32_t>(from);
      for (int64_t k = 0; k < table.count; ++k) {
        weights[slot(x, taps_x[0] - from + k)] = static_cast<int16_t>(taps_x[1 + k]);
      }
    }
  }

 private:
  // Outputs 0 1 4 5 of eight share a register, 2 3 6 7 the other: pairwise adding within 128-bit
  // lanes then leaves all eight in order. Even and odd taps meet in separate multiply-adds.
  int64_t slot(int64_t x, int64_t k) const {
    const int64_t j = x % 8, half = (j >> 1) & 1, lane = (j & 1) + (j >> 2) * 2;
    const int64_t chunk = x / 8 * (reach / kChunk) + k / kChunk;
    return ((chunk * 2 + half) * 2 + (k & 1)) * 16 + lane * 4 + k % kChunk / 2;
  }
};

// Vertical taps by pairs of rows: the first pair and one word of two weights for each.
struct RowTaps {
  int64_t pairs;                  // that an output needs at most
  std::vector<int32_t> first;     // [out], -1 outside the picture
  std::vector<int32_t> count;     // [out]
  std::vector<uint32_t> weights;  // [out, pairs]

  explicit RowTaps(TapTable table)
      : pairs(table.count / 2 + 1), first(table.out), count(table.out), weights(table.out * pairs) {
    for (int64_t y = 0; y < table.out; ++y) {
      const int32_t* taps_y = table.row(y);
      first[y] = taps_y[0] >> 1;
      for (int64_t k = 0; k < table.count; ++k) {
        const int64_t row = (taps_y[0] & 1) + k;
        if (taps_y[1 + k] == 0) continue;
        weights[y * pairs + row / 2] |= static_cast<uint32_t>(taps_y[1 + k]) << (row % 2 * 16);
        count[y] = static_cast<int32_t>(row / 2 + 1);
      }
    }
  }
};

namespace portable {

inline void horizontal(const uint8_t* even, const uint8_t* odd,  // [W']
                       const ColumnTaps& taps, uint32_t* pair /* [padded] */) {
  const int count = static_cast<int>(taps.table.count);
  for (int64_t x = 0; x < taps.table.out; ++x) {
    const int32_t* taps_x = taps.table.row(x);
    if (taps_x[0] < 0) continue;
    pair[x] = static_cast<uint32_t>(grid_row_sample(even, taps_x, count, 8)) |
              static_cast<uint32_t>(grid_row_sample(odd, taps_x, count, 8)) << 16;
  }
}

inline void vertical(const uint32_t* const* pairs, const uint32_t* weights, int64_t count,
                     Levels levels, uint8_t* out, int64_t width) {
  int32_t sums[kBlock];
  for (int64_t x = 0; x < width; x += kBlock) {
    for (int32_t& sum : sums) sum = 0;
    for (int64_t p = 0; p < count; ++p) {
      const int32_t low = weights[p] & 0xffff, high = weights[p] >> 16;
      for (int64_t j = 0; j < kBlock; ++j) {
        const uint32_t two = pairs[p][x + j];
        sums[j] +=
            low * static_cast<int32_t>(two & 0xffff) + high * static_cast<int32_t>(two >> 16);
      }
    }
    for (int64_t j = 0; j < kBlock && x + j < width; ++j) {
      out[x + j] = apply_levels(round_taps(sums[j]), levels);
    }
  }
}

}  // namespace portable

#ifdef __x86_64__
#define PG_AVX2 __attribute__((target("avx2")))

namespace avx2 {

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

PG_AVX2 inline void horizontal(const uint8_t* even, const uint8_t* odd,  // [max(W', reach)]
                               const ColumnTaps& taps, uint32_t* pair /* [padded] */) {
  const auto* weights = reinterpret_cast<const __m256i*>(taps.weights.data());
  const __m256i half = _mm256_set1_epi32(kTapOne / 2);
  for (int64_t x = 0; x < taps.padded; x += 8) {
    const int32_t* at = taps.first.data() + x;
    __m256i even_a = _mm256_setzero_si256(), even_b = even_a, odd_a = even_a, odd_b = even_a;
    for (int64_t c = 0; c < taps.reach; c += kChunk, weights += 4) {
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

}  // namespace avx2

#undef PG_AVX2
#endif

// The two passes at one level of instructions.
struct RowPasses {
  void (*horizontal)(const uint8_t*, const uint8_t*, const ColumnTaps&, uint32_t*);
  void (*vertical)(const uint32_t* const*, const uint32_t*, int64_t, Levels, uint8_t*, int64_t);
};

inline RowPasses row_passes(bool vector) {
#ifdef __x86_64__
  if (vector && __builtin_cpu_supports("avx2")) return {avx2::horizontal, avx2::vertical};
#endif
  static_cast<void>(vector);
  return {portable::horizontal, portable::vertical};
}

}  // namespace patchgate
