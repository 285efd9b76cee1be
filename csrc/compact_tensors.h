// compact's tensors, checked alike on the CPU and on CUDA.
#pragma once

#include <tuple>

#include "torch.h"

namespace patchgate {

struct CompactTensors {
  Tensor kind;                      // [F, h, w], contiguous
  int64_t frames = 1, cells;        // F, N = h * w
  Tensor index, cu_seqlens, count;  // [capacity], [F + 1], [1]

  CompactTensors(const Tensor& kinds, int64_t capacity) : kind(kinds) {
    STD_TORCH_CHECK(kind.dim() >= 2, "compact: kind must be [..., h, w], got ", kind.dim(),
                    " dimensions");
    STD_TORCH_CHECK(kind.scalar_type() == ScalarType::Byte, "compact: kind must be uint8");
    STD_TORCH_CHECK(capacity >= 0 && capacity <= INT32_MAX, "compact: capacity ", capacity,
                    " must be 0..2^31-1");
    kind = dense(kinds);
    cells = product_of({kind.size(kind.dim() - 2), kind.size(kind.dim() - 1)}, "compact: cells");
    for (int64_t d = 0; d + 2 < kind.dim(); ++d)
      frames = product_of({frames, kind.size(d)}, "compact: frames");
    STD_TORCH_CHECK(frames < INT32_MAX, "compact: ", frames, " frames are too many for one call");
    index = empty_like_device(kind, {capacity}, ScalarType::Long);
    cu_seqlens = empty_like_device(kind, {frames + 1}, ScalarType::Int);
    count = empty_like_device(kind, {1}, ScalarType::Long);
  }

  std::tuple<Tensor, Tensor, Tensor> results() const { return {index, cu_seqlens, count}; }
};

}  // namespace patchgate
