// Shared parts of all CUDA ops: the current stream, grid sizes, the launch check.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>

#include <algorithm>

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
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// STD_CUDA_CHECK would need libtorch_cuda. A reported error is cleared: otherwise the next launch's
// check would report it again.
inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, what, ": ", cudaGetErrorString(error));
}

inline int attribute(cudaDeviceAttr which, const Tensor& on, const char* name) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, on.get_device()), name);
  return value;
}

// After every launch; a launch never synchronises.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

inline void check_cuda(const Tensor& tensor, const Tensor& like, const char* name) {
  STD_TORCH_CHECK(tensor.is_cuda(), name, ": expected a CUDA tensor, got one on another device");
  STD_TORCH_CHECK(tensor.get_device() == like.get_device(), name,
                  ": expected a tensor on CUDA device ", like.get_device(), ", got one on ",
                  tensor.get_device());
}

// Launches a kernel whose blocks wait for each other, so that all must fit on the device at once:
// `blocks` of them, or as many as fit, at most `most` on a multiprocessor.
template <class Argument>
void launch_together(void (*kernel)(const Argument), const Argument& argument, int64_t blocks,
                     int threads, int shared_bytes, int most, const Tensor& on, const char* name) {
  // More shared memory than a kernel gets without asking: always the most there is, for the limit
  // is the kernel's, and another thread's call, or one in the same graph, may need more than this
  // one.
  if (shared_bytes > 48 << 10)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, on, name)),
          name);
  int fit = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, kernel, threads, shared_bytes), name);
  const int64_t room =
      int64_t{attribute(cudaDevAttrMultiProcessorCount, on, name)} * std::min(fit, most);
  STD_TORCH_CHECK(room > 0, name, ": not one block of this kernel fits on a multiprocessor");
  void* arguments[] = {const_cast<Argument*>(&argument)};
  check(cudaLaunchCooperativeKernel(kernel, static_cast<unsigned>(blocks < room ? blocks : room),
                                    threads, arguments, shared_bytes, current_stream(on)),
        name);
}

inline unsigned grid_of(int64_t blocks) {  // kernels go on with what is more
  return static_cast<unsigned>(blocks < INT32_MAX ? blocks : INT32_MAX);
}

}  // namespace patchgate
