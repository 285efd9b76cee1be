// The one header that knows torch: its stable ABI, and short names for what we use of it.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <exception>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace patchgate {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

template <class T>
const T* const_data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// What would corrupt memory, or never end, is checked in every op, whatever its tensors hold and
// however large they claim to be; what a user can get wrong is checked in Python, in the user's
// words. Fake kernels refuse the same shapes, dtypes and numbers (python/patchgate/_check/ops.py).

inline const char* name_of(ScalarType dtype) {  // as users know it
  switch (dtype) {
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::UInt16:
      return "uint16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    default:
      return torch::headeronly::toString(dtype);
  }
}

inline void check_dtype(const Tensor& tensor, ScalarType dtype, const char* name) {
  STD_TORCH_CHECK(tensor.scalar_type() == dtype, name, ": expected ", name_of(dtype), ", got ",
                  name_of(tensor.scalar_type()));
}

inline void check_dims(const Tensor& tensor, int64_t dims, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == dims, name, ": expected ", dims, " dimensions, got ",
                  tensor.dim());
}

inline void check_dense(const Tensor& tensor, ScalarType dtype, int64_t dims, const char* name) {
  check_dtype(tensor, dtype, name);
  check_dims(tensor, dims, name);
  STD_TORCH_CHECK(tensor.is_contiguous(), name, ": expected a contiguous tensor");
}

// "[2, 3]"
template <class Sizes>
std::string text_of(const Sizes& sizes) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// Memory on the device of another tensor. What torch says where there is none does not come through
// its stable ABI.
inline Tensor empty_like_device(const Tensor& like, const std::vector<int64_t>& sizes,
                                ScalarType dtype) {
  try {
    return torch::stable::new_empty(like, sizes, dtype);
  } catch (const std::exception&) {
    throw std::runtime_error("out of memory: no room for a " + std::string(name_of(dtype)) +
                             " tensor of " + text_of(sizes));
  }
}

inline Tensor dense(const Tensor& tensor) {
  try {
    return torch::stable::contiguous(tensor);
  } catch (const std::exception&) {
    throw std::runtime_error("out of memory: no room for a copy of a tensor of " +
                             text_of(tensor.sizes()));
  }
}

// A dense tensor of just this shape.
inline void check_shaped(const Tensor& tensor, ScalarType dtype, const std::vector<int64_t>& shape,
                         const char* name) {
  check_dense(tensor, dtype, static_cast<int64_t>(shape.size()), name);
  int64_t axis = 0;
  for (const int64_t size : shape)
    STD_TORCH_CHECK(tensor.size(axis++) == size, name, ": expected ", text_of(shape), ", got ",
                    text_of(tensor.sizes()));
}

// Their product. A tensor without elements, or with strides of 0, may claim any size.
inline int64_t product_of(std::initializer_list<int64_t> sizes, const char* what) {
  int64_t product = 1;
  for (const int64_t size : sizes)
    STD_TORCH_CHECK(!__builtin_mul_overflow(product, size, &product), what, ": ", text_of(sizes),
                    " are too many");
  return product;
}

}  // namespace patchgate
