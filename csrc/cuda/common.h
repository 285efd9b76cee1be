// What every CUDA op needs around its kernels: the current stream, grid sizes, the launch check.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>

#include "torch.h"

// Weak: it lives in libtorch_cuda, and this library also loads where there is none. (The stable
// headers give the stream's native handle only from torch 2.13 on.)
extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);

namespace patchgate {

inline cudaStream_t current_stream(const Tensor& tensor) {
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                  "a CUDA tensor, but this torch was built without CUDA");
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// After every launch; a launch never synchronises. (STD_CUDA_CHECK would need libtorch_cuda.)
inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, kernel, ": ", cudaGetErrorString(error));
}

inline void check_cuda(const Tensor& tensor, const Tensor& like, const char* name) {
  STD_TORCH_CHECK(tensor.is_cuda() && tensor.get_device() == like.get_device(), name,
                  ": expected a tensor on CUDA device ", like.get_device());
}

inline unsigned blocks_for(int64_t items, int64_t per_block, int64_t most = INT32_MAX) {
  const int64_t blocks = (items + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

inline constexpr int64_t kMaxGridYZ = 65535;

}  // namespace patchgate
