// The nearest of each token's candidates on the CPU: row by row, and no further along a row than it
// takes to know that it is not the nearest.
#include <algorithm>
#include <atomic>
#include <limits>
#include <tuple>

#include "cpu/merge/distance.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kNumbersGrain = 1 << 15;  // numbers compared that repay waking a thread

}  // namespace

std::tuple<Tensor, Tensor> nearest_token(      // -> [Q], [Q]
    const Tensor& features_,                   // [K, D]
    const Tensor& query,                       // [Q]
    const Tensor& candidate,                   // [L]
    const Tensor& begin, const Tensor& end) {  // [Q], [Q]
  const Tensor features = dense(features_);
  check_dense(features, ScalarType::Float, 2, "features");
  check_dense(query, ScalarType::Long, 1, "query");
  check_dense(candidate, ScalarType::Long, 1, "candidate");
  check_dense(begin, ScalarType::Long, 1, "begin");
  check_dense(end, ScalarType::Long, 1, "end");
  const int64_t queries = query.size(0), rows = features.size(0), width = features.size(1);
  STD_TORCH_CHECK(begin.size(0) == queries && end.size(0) == queries,
                  "begin, end: expected one entry for each of the ", queries, " queries");
  STD_TORCH_CHECK(queries == 0 || rows > 0, "nearest_token: ", queries,
                  " queries, but features has no rows");
  const Tensor nearest = empty_like_device(features, {queries}, ScalarType::Long);
  const Tensor distance = empty_like_device(features, {queries}, ScalarType::Float);
  if (queries == 0) return {nearest, distance};
  const auto* row = const_data<float>(features);
  const auto* own = const_data<int64_t>(query);
  const auto* other = const_data<int64_t>(candidate);
  const auto *from = const_data<int64_t>(begin), *to = const_data<int64_t>(end);
  std::atomic<int64_t> stray{-1};  // a query that names what is not there
  const int64_t length = candidate.size(0), each = length / std::max<int64_t>(1, queries) + 1;
  const int64_t grain = std::max<int64_t>(1, kNumbersGrain / (each * (width + 1)));
  torch::stable::parallel_for(0, queries, grain, [&](int64_t first, int64_t last) {
    for (int64_t q = first; q < last; ++q) {
      int64_t best = -1;
      double least = kInfinity;
      bool known = own[q] >= 0 && own[q] < rows && from[q] >= 0 && to[q] <= length;
      for (int64_t j = from[q]; known && j < to[q]; ++j) {
        if (other[j] < 0 || other[j] == own[q]) continue;
        known = other[j] < rows;
        if (!known) break;
        const double d =
            squared_distance(row + own[q] * width, row + other[j] * width, width, least);
        if (d < least) least = d, best = other[j];
      }
      if (!known) stray = q;
      data<int64_t>(nearest)[q] = best;
      data<float>(distance)[q] = static_cast<float>(least);
    }
  });
  STD_TORCH_CHECK(stray < 0, "nearest_token: query ", stray.load(), " names one of ", rows,
                  " rows, or of ", length, " candidates, that is not there");
  return {nearest, distance};
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("nearest_token", TORCH_BOX(&patchgate::nearest_token));
}
