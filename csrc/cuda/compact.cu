// Compaction on CUDA: a memset and one launch on the current stream.
#include "compact_tensors.h"
#include "cuda/common.h"
#include "cuda/compact_kernels.h"

namespace patchgate {

std::tuple<Tensor, Tensor, Tensor> compact_cuda(const Tensor& kind, int64_t capacity) {
  const torch::stable::accelerator::DeviceGuard guard(kind.get_device());
  const CompactTensors tensors(kind, capacity);
  CompactPlan plan{const_data<uint8_t>(tensors.kind),
                   tensors.frames,
                   tensors.cells,
                   capacity,
                   data<int64_t>(tensors.index),
                   data<int32_t>(tensors.cu_seqlens),
                   data<int64_t>(tensors.count),
                   nullptr,
                   nullptr};
  STD_TORCH_CHECK(plan.tiles() < INT32_MAX, "compact: too many cells for one call");
  const Tensor progress = empty_like_device(kind, {plan.tiles() + 1}, ScalarType::Long);
  plan.status = reinterpret_cast<unsigned long long*>(data<int64_t>(progress));
  plan.next_tile = reinterpret_cast<int32_t*>(plan.status + plan.tiles());
  const cudaStream_t stream = current_stream(kind);
  check(cudaMemsetAsync(plan.status, 0, (plan.tiles() + 1) * sizeof(int64_t), stream), "compact");
  compact_kernel<<<static_cast<unsigned>(plan.tiles()), kCompactThreads, sizeof(CompactShared),
                   stream>>>(plan);
  check_launch("compact");
  return tensors.results();
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CUDA, m) {
  m.impl("compact", TORCH_BOX(&patchgate::compact_cuda));
}
