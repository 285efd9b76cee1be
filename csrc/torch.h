// The one header that knows torch: its stable ABI, and short names for what we use of it.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <string_view>
#include <vector>

namespace patchgate {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Tensor empty_like_device(const Tensor& like, const std::vector<int64_t>& sizes,
                                ScalarType dtype) {
  return torch::stable::new_empty(like, sizes, dtype);
}

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

template <class T>
const T* const_data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// What would corrupt memory is checked here; what a user can get wrong is checked in Python, in the
// user's words.
inline void check_dense(const Tensor& tensor, ScalarType dtype, int64_t dims, const char* name) {
  STD_TORCH_CHECK(tensor.scalar_type() == dtype, name, ": unexpected dtype");
  STD_TORCH_CHECK(tensor.dim() == dims, name, ": expected ", dims, " dimensions, got ",
                  tensor.dim());
  STD_TORCH_CHECK(tensor.is_contiguous(), name, ": expected a contiguous tensor");
}

}  // namespace patchgate
