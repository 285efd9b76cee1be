// Segment means on the CPU: each segment adds up its rows, a piece of the width at a time.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <type_traits>

#include "cpu/simd.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr int64_t kNumbersGrain = 1 << 15;  // numbers read that repay waking a thread
constexpr int64_t kPiece = 512;             // of a row, added up where the first cache holds it

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
struct Segments {
  const T* features;            // [A, D]
  const Wide<T>* weight;        // [A] or null
  const int64_t* index;         // [L]
  const int32_t* ends;          // [G + 1]
  T* out;                       // [G, D]
  int64_t rows, width;          // A, D
  std::atomic<int64_t>* stray;  // a place in index that names no row
};

// sum += share * (row - first): rows that are equal have exactly themselves as their mean.
#define PG_ADD(T)                                                                                 \
  PG_SIMD_CLONES void add(const T* row, const T* first, Wide<T> share, int64_t n, Wide<T>* sum) { \
    for (int64_t i = 0; i < n; ++i)                                                               \
      sum[i] += share * (static_cast<Wide<T>>(row[i]) - static_cast<Wide<T>>(first[i]));          \
  }
PG_ADD(float)
PG_ADD(double)
PG_ADD(c10::BFloat16)
PG_ADD(c10::Half)
#undef PG_ADD

template <class T>
void mean_of(const Segments<T>& s, int64_t g) {
  const int64_t begin = s.ends[g], end = s.ends[g + 1];
  double total = 0;
  for (int64_t j = begin; j < end; ++j) {
    if (s.index[j] < 0 || s.index[j] >= s.rows) {
      *s.stray = j;
      return;
    }
    total += s.weight ? s.weight[s.index[j]] : 1.0;
  }
  T* out = s.out + g * s.width;
  if (!(total > 0)) {
    std::fill(out, out + s.width, T(0));
    return;
  }
  const T* head = s.features + s.index[begin] * s.width;
  for (int64_t at = 0; at < s.width; at += kPiece) {
    const int64_t n = std::min(kPiece, s.width - at);
    Wide<T> sum[kPiece] = {};
    for (int64_t j = begin + 1; j < end; ++j) {
      const int64_t row = s.index[j];
      const double share = (s.weight ? s.weight[row] : 1.0) / total;
      add(s.features + row * s.width + at, head + at, static_cast<Wide<T>>(share), n, sum);
    }
    for (int64_t i = 0; i < n; ++i)
      out[at + i] = static_cast<T>(static_cast<Wide<T>>(head[at + i]) + sum[i]);
  }
}

template <class T>
void run(const Tensor& features, const std::optional<Tensor>& weight, const Tensor& index,
         const Tensor& cu_segments, const Tensor& out) {
  std::atomic<int64_t> stray{-1};
  const int64_t groups = cu_segments.size(0) - 1, width = features.size(1);
  if (groups == 0) return;
  const Segments<T> segments{const_data<T>(features),
                             weight.has_value() ? const_data<Wide<T>>(*weight) : nullptr,
                             const_data<int64_t>(index),
                             const_data<int32_t>(cu_segments),
                             data<T>(out),
                             features.size(0),
                             width,
                             &stray};
  const int64_t mean_length = index.size(0) / std::max<int64_t>(1, groups) + 1;
  const int64_t grain = std::max<int64_t>(1, kNumbersGrain / (mean_length * (width + 1)));
  torch::stable::parallel_for(0, groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) mean_of(segments, g);
  });
  STD_TORCH_CHECK(stray < 0, "index: ", const_data<int64_t>(index)[stray < 0 ? 0 : stray.load()],
                  " at ", stray.load(), " is not one of the ", features.size(0), " rows");
}

void check_segments(const Tensor& index, const Tensor& cu_segments) {
  check_dense(index, ScalarType::Long, 1, "index");
  check_dense(cu_segments, ScalarType::Int, 1, "cu_segments");
  STD_TORCH_CHECK(cu_segments.size(0) >= 1, "cu_segments: expected [G + 1], got no entry");
  const auto* ends = const_data<int32_t>(cu_segments);
  const int64_t groups = cu_segments.size(0) - 1;
  STD_TORCH_CHECK(ends[0] >= 0 && ends[groups] <= index.size(0),
                  "cu_segments: expected numbers in 0..", index.size(0), ", got ", ends[0], "..",
                  ends[groups]);
  for (int64_t g = 0; g < groups; ++g)
    STD_TORCH_CHECK(ends[g] <= ends[g + 1], "cu_segments: expected ascending numbers, got ",
                    ends[g], " before ", ends[g + 1], " at ", g);
}

}  // namespace

Tensor segment_mean(                      // -> [G, D]
    const Tensor& features_,              // [A, D]
    const std::optional<Tensor>& weight,  // [A]
    const Tensor& index,                  // [L]
    const Tensor& cu_segments) {          // [G + 1]
  STD_TORCH_CHECK(features_.dim() == 2, "features: expected [A, D], got ", features_.dim(),
                  " dimensions");
  check_segments(index, cu_segments);
  const Tensor features = dense(features_);
  const ScalarType dtype = features.scalar_type();
  if (weight.has_value()) {
    check_dense(*weight, dtype == ScalarType::Double ? dtype : ScalarType::Float, 1, "weight");
    STD_TORCH_CHECK(weight->size(0) == features.size(0), "weight: ", weight->size(0),
                    " numbers, features has ", features.size(0), " rows");
  }
  const Tensor out =
      empty_like_device(features, {cu_segments.size(0) - 1, features.size(1)}, dtype);
  if (dtype == ScalarType::Float)
    run<float>(features, weight, index, cu_segments, out);
  else if (dtype == ScalarType::Double)
    run<double>(features, weight, index, cu_segments, out);
  else if (dtype == ScalarType::BFloat16)
    run<c10::BFloat16>(features, weight, index, cu_segments, out);
  else if (dtype == ScalarType::Half)
    run<c10::Half>(features, weight, index, cu_segments, out);
  else
    STD_TORCH_CHECK(false, "features: expected float32, float64, bfloat16 or float16");
  return out;
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("segment_mean", TORCH_BOX(&patchgate::segment_mean));
}
