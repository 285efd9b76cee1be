// Expansion on the CPU: one row copy per cell, whatever the dtype; and its gradient, a sum of rows
// per token.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "torch.h"

namespace patchgate {

constexpr int64_t kBytesGrain = 1 << 16;  // copied bytes that repay waking a thread

Tensor expand(const Tensor& features_, const Tensor& source_) {
  STD_TORCH_CHECK(features_.dim() == 2, "expand: features must be [K, D], got ", features_.dim(),
                  " dimensions");
  STD_TORCH_CHECK(source_.scalar_type() == ScalarType::Long, "expand: source must be int64");
  const Tensor features = dense(features_);
  const Tensor source = dense(source_);
  std::vector<int64_t> sizes;
  for (int64_t d = 0; d < source.dim(); ++d) sizes.push_back(source.size(d));
  sizes.push_back(features.size(1));
  const int64_t tokens = features.size(0), cells = source.numel();
  STD_TORCH_CHECK(cells == 0 || tokens > 0, "expand: ", cells, " cells, but not one token");
  const Tensor out = empty_like_device(features, sizes, features.scalar_type());
  if (cells == 0) return out;
  const int64_t row = features.size(1) * static_cast<int64_t>(features.element_size());
  const auto* from = static_cast<const char*>(features.const_data_ptr());
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  const auto* id = const_data<int64_t>(source);
  std::atomic<int64_t> stray{-1};  // a cell whose source is no token
  const int64_t grain = std::max<int64_t>(1, kBytesGrain / std::max<int64_t>(1, row));
  torch::stable::parallel_for(0, cells, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (id[i] < 0 || id[i] >= tokens)
        stray = i;
      else if (row > 0)
        std::memcpy(to + i * row, from + id[i] * row, row);
    }
  });
  STD_TORCH_CHECK(stray < 0, "expand: source ", id[stray < 0 ? 0 : stray.load()], " of cell ",
                  stray.load(), " is not one of the ", tokens, " tokens");
  return out;
}

// Cells by token, each token's in their own order: order[ends[k]:ends[k + 1]] are token k's.
struct CellsOfTokens {
  std::vector<int64_t> ends, order;  // [K + 1], [N]

  CellsOfTokens(const int64_t* source, int64_t cells, int64_t tokens)
      : ends(tokens + 1), order(cells) {
    for (int64_t i = 0; i < cells; ++i) ++ends[source[i] + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<int64_t> next(ends.begin(), ends.end() - 1);
    for (int64_t i = 0; i < cells; ++i) order[next[source[i]]++] = i;
  }
};

template <class T>
void sum_rows(const Tensor& grad, const CellsOfTokens& cells, const Tensor& out) {
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const auto* from = const_data<T>(grad);
  auto* to = data<T>(out);
  const int64_t width = out.size(1);
  torch::stable::parallel_for(0, out.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<Wide> sum(width);
    for (int64_t k = begin; k < end; ++k) {
      std::fill(sum.begin(), sum.end(), Wide(0));
      for (int64_t j = cells.ends[k]; j < cells.ends[k + 1]; ++j) {
        const T* row = from + cells.order[j] * width;
        for (int64_t d = 0; d < width; ++d) sum[d] += static_cast<Wide>(row[d]);
      }
      std::copy(sum.begin(), sum.end(), to + k * width);
    }
  });
}

Tensor expand_backward(const Tensor& grad_,    // [..., D]
                       const Tensor& source_,  // [...]
                       int64_t tokens) {       // -> [tokens, D]
  STD_TORCH_CHECK(source_.scalar_type() == ScalarType::Long,
                  "expand_backward: source must be int64");
  const Tensor grad = dense(grad_);
  const Tensor source = dense(source_);
  const int64_t width = grad.dim() > 0 ? grad.size(grad.dim() - 1) : 0;
  bool fits = grad.dim() == source.dim() + 1;
  for (int64_t d = 0; fits && d < source.dim(); ++d) fits = grad.size(d) == source.size(d);
  STD_TORCH_CHECK(fits, "expand_backward: grad must be [..., D] and source [...], got ",
                  text_of(grad.sizes()), " and ", text_of(source.sizes()));
  const ScalarType dtype = grad.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double ||
                      dtype == ScalarType::BFloat16 || dtype == ScalarType::Half,
                  "grad: expected float32, float64, bfloat16 or float16");
  STD_TORCH_CHECK(tokens >= 0 && tokens < INT64_MAX, "expand_backward: tokens ", tokens,
                  " must be at least 0");
  const auto* id = const_data<int64_t>(source);
  for (int64_t i = 0; i < source.numel(); ++i)
    STD_TORCH_CHECK(id[i] >= 0 && id[i] < tokens, "expand_backward: source ", id[i], " of cell ", i,
                    " is not one of the ", tokens, " tokens");
  const Tensor out = empty_like_device(grad, {tokens, width}, dtype);  // refuses what is too large
  if (out.numel() == 0) return out;
  const CellsOfTokens cells(id, source.numel(), tokens);
  if (dtype == ScalarType::Float)
    sum_rows<float>(grad, cells, out);
  else if (dtype == ScalarType::Double)
    sum_rows<double>(grad, cells, out);
  else if (dtype == ScalarType::BFloat16)
    sum_rows<c10::BFloat16>(grad, cells, out);
  else
    sum_rows<c10::Half>(grad, cells, out);
  return out;
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("expand", TORCH_BOX(&patchgate::expand));
  m.impl("expand_backward", TORCH_BOX(&patchgate::expand_backward));
}
