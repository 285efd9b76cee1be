// Expansion on the CPU: one row copy per cell, whatever the dtype.
#include <atomic>
#include <cstring>

#include "torch.h"

namespace patchgate {

constexpr int64_t kBytesGrain = 1 << 16;  // copied bytes that repay waking a thread

Tensor expand(const Tensor& features_, const Tensor& source_) {
  STD_TORCH_CHECK(features_.dim() == 2, "expand: features must be [K, D], got ", features_.dim(),
                  " dimensions");
  STD_TORCH_CHECK(source_.scalar_type() == ScalarType::Long, "expand: source must be int64");
  const Tensor features = torch::stable::contiguous(features_);
  const Tensor source = torch::stable::contiguous(source_);
  std::vector<int64_t> sizes;
  for (int64_t d = 0; d < source.dim(); ++d) sizes.push_back(source.size(d));
  sizes.push_back(features.size(1));
  const Tensor out = torch::stable::new_empty(features, sizes);

  const int64_t tokens = features.size(0), cells = source.numel();
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
      else
        std::memcpy(to + i * row, from + id[i] * row, row);
    }
  });
  STD_TORCH_CHECK(stray < 0, "expand: source ", id[stray < 0 ? 0 : stray.load()], " of cell ",
                  stray.load(), " is not one of the ", tokens, " tokens");
  return out;
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) { m.impl("expand", TORCH_BOX(&patchgate::expand)); }
