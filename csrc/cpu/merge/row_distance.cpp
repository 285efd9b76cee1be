// Distances of pairs of rows on the CPU: a row of one table against a row of another.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "cpu/merge/distance.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr int64_t kNumbersGrain = 1 << 15;  // numbers compared that repay waking a thread

}  // namespace

Tensor row_distance(            // -> [Q]
    const Tensor& left_,        // [A, D]
    const Tensor& left_row,     // [Q]
    const Tensor& right_,       // [B, D]
    const Tensor& right_row) {  // [Q]
  const Tensor left = dense(left_);
  const Tensor right = dense(right_);
  check_dense(left, ScalarType::Float, 2, "left");
  check_dense(right, ScalarType::Float, 2, "right");
  check_dense(left_row, ScalarType::Long, 1, "left_row");
  check_dense(right_row, ScalarType::Long, 1, "right_row");
  const int64_t pairs = left_row.size(0), width = left.size(1);
  STD_TORCH_CHECK(right.size(1) == width && right_row.size(0) == pairs,
                  "row_distance: expected tables of one width and as many rows of each");
  STD_TORCH_CHECK(pairs == 0 || (left.size(0) > 0 && right.size(0) > 0), "row_distance: ", pairs,
                  " pairs of rows, but tables of ", left.size(0), " and ", right.size(0), " rows");
  const Tensor out = empty_like_device(left, {pairs}, ScalarType::Float);
  if (pairs == 0) return out;
  const auto *a = const_data<float>(left), *b = const_data<float>(right);
  const auto *i = const_data<int64_t>(left_row), *j = const_data<int64_t>(right_row);
  std::atomic<int64_t> stray{-1};  // a pair that names what is not there
  const int64_t grain = std::max<int64_t>(1, kNumbersGrain / (width + 1));
  torch::stable::parallel_for(0, pairs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      if (i[q] < 0 || i[q] >= left.size(0) || j[q] < 0 || j[q] >= right.size(0)) {
        stray = q;
        continue;
      }
      const double squared = squared_distance(a + i[q] * width, b + j[q] * width, width,
                                              std::numeric_limits<double>::infinity());
      data<float>(out)[q] = static_cast<float>(std::sqrt(squared));
    }
  });
  STD_TORCH_CHECK(stray < 0, "row_distance: pair ", stray.load(), " names a row that is not there");
  return out;
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("row_distance", TORCH_BOX(&patchgate::row_distance));
}
