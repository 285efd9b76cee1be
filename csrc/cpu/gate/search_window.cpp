#include "cpu/gate/search_window.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace patchgate {
namespace {

constexpr int kLane = 16;

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

#ifdef __x86_64__
#define PG_AVX2 __attribute__((target("avx2"), always_inline)) inline

// Rows [0, rows) of 16 pixels, two a step; an odd last row by itself.
PG_AVX2 int32_t sad_rows_avx2(const uint8_t* now, const uint8_t* then, int64_t stride, int rows,
                              __m256i keep) {
  __m256i sums = _mm256_setzero_si256();
  for (int y = 0; y < rows; y += 2) {
    const bool pair = y + 1 < rows;
    const auto* low = reinterpret_cast<const __m128i*>(then + (pair ? y + 1 : y) * stride);
    const auto* high = reinterpret_cast<const __m128i*>(then + y * stride);
    __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(now + y * kLane));
    __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(high)),
                                        _mm_loadu_si128(low), 1);
    b = _mm256_and_si256(b, keep);
    if (!pair) {
      a = _mm256_inserti128_si256(a, _mm_setzero_si128(), 1);
      b = _mm256_inserti128_si256(b, _mm_setzero_si128(), 1);
    }
    sums = _mm256_add_epi32(sums, _mm256_sad_epu8(a, b));
  }
  const __m128i half =
      _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_unpackhi_epi64(half, half)));
}
#endif

#ifdef __x86_64__
// Any number of columns, 16 at a time: every x86-64 has this instruction.
int32_t sad_columns(const uint8_t* now, const uint8_t* then, const uint8_t* mask, int64_t stride,
                    int rows, int columns) {
  __m128i sums = _mm_setzero_si128();
  for (int x = 0; x < columns; x += kLane) {
    const __m128i keep = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + x));
    for (int y = 0; y < rows; ++y) {
      const auto* p = reinterpret_cast<const __m128i*>(now + y * columns + x);
      const auto* q = reinterpret_cast<const __m128i*>(then + y * stride + x);
      const __m128i b = _mm_and_si128(_mm_loadu_si128(q), keep);
      sums = _mm_add_epi32(sums, _mm_sad_epu8(_mm_loadu_si128(p), b));
    }
  }
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums)));
}
#endif

int32_t sad_portable(const uint8_t* now, const uint8_t* then, int64_t stride, int rows, int cell,
                     int columns) {
  int32_t sum = 0;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < cell; ++x)
      sum += absolute_difference(now[y * columns + x], then[y * stride + x]);
  return sum;
}

}  // namespace

SearchWindow::SearchWindow(int cell, int radius)
    : cell_(cell),
      radius_(radius),
      columns_(round_up(cell, kLane)),
      stride_(round_up(columns_ + 2 * radius, kLane)),
      rows_(cell + 2 * radius) {
  // In tie order: by |dy| + |dx|, then dy, then dx.
  for (int size = 1; size <= 2 * radius; ++size)
    for (int dy = -std::min(size, radius); dy <= std::min(size, radius); ++dy) {
      const int dx = size - std::abs(dy);
      if (dx > radius) continue;
      add_candidate({dy, -dx});
      if (dx > 0) add_candidate({dy, dx});
    }
  mask_.assign(columns_, 0);
  std::fill_n(mask_.begin(), cell, 0xFF);
}

void SearchWindow::add_candidate(Vector v) {
  candidates_.push_back({v, vector_price(cell_, v), (radius_ + v.dy) * stride_ + radius_ + v.dx});
}

void SearchWindow::load(const uint8_t* now, const uint8_t* then, int frames, int64_t frame_stride,
                        int y, int x, int height, int width) {
  frames_ = frames;
  top_ = std::max(-radius_, -y), bottom_ = std::min(radius_, height - cell_ - y);
  left_ = std::max(-radius_, -x), right_ = std::min(radius_, width - cell_ - x);
  now_.assign((frames * cell_ + 1) * columns_, 0);
  then_.resize(frames * rows_ * stride_ + kLane);
  for (int f = 0; f < frames; ++f) {
    const uint8_t* block = now + f * frame_stride + int64_t{y} * width + x;
    for (int r = 0; r < cell_; ++r)
      std::memcpy(&now_[(f * cell_ + r) * columns_], block + int64_t{r} * width, cell_);
    const uint8_t* around = then + f * frame_stride + int64_t{y} * width + x;
    for (int r = top_; r < bottom_ + cell_; ++r)
      std::memcpy(&then_[(f * rows_ + r + radius_) * stride_ + radius_ + left_],
                  around + int64_t{r} * width + left_, right_ - left_ + cell_);
  }
}

template <class Sad>
inline __attribute__((always_inline)) Match SearchWindow::best_by(Sad&& sad) const {
  Match best{kUntested, {0, 0}};
  for (const Candidate& candidate : candidates_) {
    if (candidate.price >= best.objective) break;  // a tie goes to the earlier vector
    const Vector v = candidate.vector;
    if (v.dy < top_ || v.dy > bottom_ || v.dx < left_ || v.dx > right_) continue;
    const int32_t sum = sad(then_.data() + candidate.offset, best.objective - candidate.price);
    if (sum + candidate.price < best.objective) best = {sum + candidate.price, v};
  }
  return best;
}

#ifdef __x86_64__
__attribute__((target("avx2"))) Match SearchWindow::best_avx2() const {
  const __m256i keep =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(mask_.data())));
  if (cell_ == 14 && frames_ == 1)  // unrolled: the patch side of most towers
    return best_by([&](const uint8_t* then, int32_t) __attribute__((target("avx2"))) {
      return sad_rows_avx2(now_.data(), then, stride_, 14, keep);
    });
  return best_by([&](const uint8_t* then, int32_t enough) __attribute__((target("avx2"))) {
    int32_t sum = 0;
    for (int f = 0; f < frames_ && sum < enough; ++f)
      sum += sad_rows_avx2(now_.data() + f * cell_ * kLane, then + f * rows_ * stride_, stride_,
                           cell_, keep);
    return sum;
  });
}
#endif

Match SearchWindow::best([[maybe_unused]] SadPath path) const {
  const auto by_frame = [&](auto&& sad) {
    return best_by([&](const uint8_t* then, int32_t enough) {
      int32_t sum = 0;
      for (int f = 0; f < frames_ && sum < enough; ++f)
        sum += sad(now_.data() + f * cell_ * columns_, then + f * rows_ * stride_);
      return sum;
    });
  };
#ifdef __x86_64__
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (path == SadPath::kFastest && has_avx2 && columns_ == kLane) return best_avx2();
  if (path != SadPath::kPortable)
    return by_frame([&](const uint8_t* now, const uint8_t* then) {
      return sad_columns(now, then, mask_.data(), stride_, cell_, columns_);
    });
#endif
  return by_frame([&](const uint8_t* now, const uint8_t* then) {
    return sad_portable(now, then, stride_, cell_, cell_, columns_);
  });
}

}  // namespace patchgate
