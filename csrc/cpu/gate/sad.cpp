#include "cpu/gate/sad.h"

#include <algorithm>
#include <cstring>

#include "cpu/simd.h"

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace patchgate {
namespace {

void add(Difference& difference, int32_t sad) {
  difference.largest = std::max(difference.largest, sad);
  difference.sum += sad;
}

#ifdef __x86_64__

bool fits_pairs(int cell, int sub_block) {
  return sub_block >= 4 && sub_block <= 8 && cell / sub_block % 2 == 0;
}

__m128i load_halves(const uint8_t* first, const uint8_t* second) {
  __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first));
  return _mm_castpd_si128(
      _mm_loadh_pd(_mm_castsi128_pd(both), reinterpret_cast<const double*>(second)));
}

// Two neighbouring sub-blocks of 4 to 8 columns, one in each half of a vector: the first half
// starts with its columns, the second ends with its own, so that no read leaves the pair.
struct PairKernel {
  const int sub_block;
  __m128i keep;

  explicit PairKernel(int sub_block) : sub_block(sub_block) {
    uint8_t mask[16];
    for (int i = 0; i < 8; ++i) {
      mask[i] = i < sub_block ? 0xFF : 0;
      mask[8 + i] = i >= 8 - sub_block ? 0xFF : 0;
    }
    keep = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask));
  }

  // Adds the SADs of the pair at `a` and `b` to `difference`.
  void operator()(const uint8_t* a, const uint8_t* b, int64_t stride_a, int64_t stride_b,
                  Difference& difference) const {
    const int64_t second = 2 * sub_block - 8;
    __m128i sums = _mm_setzero_si128();
    for (int y = 0; y < sub_block; ++y, a += stride_a, b += stride_b) {
      const __m128i p = _mm_and_si128(load_halves(a, a + second), keep);
      const __m128i q = _mm_and_si128(load_halves(b, b + second), keep);
      sums = _mm_add_epi64(sums, _mm_sad_epu8(p, q));
    }
    add(difference, _mm_cvtsi128_si32(sums));
    add(difference, _mm_cvtsi128_si32(_mm_unpackhi_epi64(sums, sums)));
  }
};

template <int kSubBlock>
Difference pairs_difference(const uint8_t* a, const uint8_t* b, int64_t stride_a, int64_t stride_b,
                            int cell, int sub_block) {
  const PairKernel pair(kSubBlock ? kSubBlock : sub_block);
  Difference difference{0, 0};
  for (int y = 0; y < cell; y += pair.sub_block)
    for (int x = 0; x < cell; x += 2 * pair.sub_block)
      pair(a + y * stride_a + x, b + y * stride_b + x, stride_a, stride_b, difference);
  return difference;
}

// One row of cells, sub-row by sub-row: memory is read in as few streams as there are rows.
template <int kSubBlock>
void pairs_row(const uint8_t* a, const uint8_t* b, int64_t stride, int64_t w, int cell,
               int32_t* cost) {
  const PairKernel pair(kSubBlock);
  for (int y = 0; y < cell; y += kSubBlock)
    for (int64_t x = 0; x < w * cell; x += 2 * kSubBlock) {
      Difference difference{cost[x / cell], 0};
      pair(a + y * stride + x, b + y * stride + x, stride, stride, difference);
      cost[x / cell] = difference.largest;
    }
}

#endif

// sums[x] = sum over `rows` of |a - b| for kLanes columns. At most 256 rows: 256 * 255 fits 16
// bits.
template <int kLanes>
inline __attribute__((always_inline)) void lane_sums(const uint8_t* a, const uint8_t* b,
                                                     int64_t stride_a, int64_t stride_b, int rows,
                                                     uint16_t* sums) {
  uint16_t partial[kLanes] = {};
  for (int y = 0; y < rows; ++y)
    for (int i = 0; i < kLanes; ++i) {
      const uint8_t p = a[y * stride_a + i], q = b[y * stride_b + i];
      partial[i] += static_cast<uint8_t>((p > q ? p : q) - (p > q ? q : p));
    }
  std::memcpy(sums, partial, sizeof partial);
}

// Any number of columns: the last lanes overlap the ones before, so that no read leaves a row.
template <int kLanes>
inline __attribute__((always_inline)) void column_sums(const uint8_t* a, const uint8_t* b,
                                                       int64_t stride_a, int64_t stride_b, int rows,
                                                       int width, uint16_t* sums) {
  for (int x = 0; x < width; x += kLanes) {
    const int at = std::min(x, width - kLanes);
    lane_sums<kLanes>(a + at, b + at, stride_a, stride_b, rows, sums + at);
  }
}

PG_SIMD_CLONES Difference any_difference(const uint8_t* a, const uint8_t* b, int64_t stride_a,
                                         int64_t stride_b, int cell, int sub_block) {
  Difference difference{0, 0};
  uint16_t sums[256];
  for (int y = 0; y < cell; y += sub_block) {
    const uint8_t *top_a = a + y * stride_a, *top_b = b + y * stride_b;
    if (cell >= 8)
      column_sums<8>(top_a, top_b, stride_a, stride_b, sub_block, cell, sums);
    else
      column_sums<1>(top_a, top_b, stride_a, stride_b, sub_block, cell, sums);
    for (int x = 0; x < cell; x += sub_block) {
      int32_t sad = 0;
      for (int i = 0; i < sub_block; ++i) sad += sums[x + i];
      add(difference, sad);
    }
  }
  return difference;
}

}  // namespace

Difference cell_difference(const uint8_t* a, const uint8_t* b, int64_t stride_a, int64_t stride_b,
                           int cell, int sub_block, [[maybe_unused]] SadPath path) {
#ifdef __x86_64__
  if (path != SadPath::kPortable && fits_pairs(cell, sub_block)) {
    if (sub_block == 7) return pairs_difference<7>(a, b, stride_a, stride_b, cell, sub_block);
    if (sub_block == 8) return pairs_difference<8>(a, b, stride_a, stride_b, cell, sub_block);
    return pairs_difference<0>(a, b, stride_a, stride_b, cell, sub_block);
  }
#endif
  return any_difference(a, b, stride_a, stride_b, cell, sub_block);
}

void row_costs(const uint8_t* a, const uint8_t* b, int64_t stride, int64_t w, int cell,
               int sub_block, int32_t* cost) {
#ifdef __x86_64__
  if (cell == 14 && sub_block == 7) return pairs_row<7>(a, b, stride, w, 14, cost);
  if (cell == 16 && sub_block == 8) return pairs_row<8>(a, b, stride, w, 16, cost);
#endif
  for (int64_t c = 0; c < w; ++c) {
    const Difference difference =
        cell_difference(a + c * cell, b + c * cell, stride, stride, cell, sub_block);
    cost[c] = std::max(cost[c], difference.largest);
  }
}

}  // namespace patchgate
