// Compaction on the CPU: count each frame's changed cells, then write each frame's indices.
#include <algorithm>

#include "compact_tensors.h"
#include "gate.h"

namespace patchgate {
namespace {

constexpr int64_t kFrameGrain = 16;

int64_t changed_cells(const uint8_t* kind, int64_t cells) {
  return std::count(kind, kind + cells, kChanged);
}

// Writes the flat indices of one frame's changed cells into [begin, end) of the buffer.
void write_indices(const uint8_t* kind, int64_t frame, int64_t cells, int64_t* index, int64_t begin,
                   int64_t end) {
  for (int64_t n = 0; n < cells && begin < end; ++n)
    if (kind[frame * cells + n] == kChanged) index[begin++] = frame * cells + n;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> compact(const Tensor& kind, int64_t capacity) {
  const CompactTensors tensors(kind, capacity);
  const int64_t cells = tensors.cells, frames = tensors.frames;
  const auto* kinds = const_data<uint8_t>(tensors.kind);

  std::vector<int64_t> starts(frames + 1);
  torch::stable::parallel_for(0, frames, kFrameGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) starts[t + 1] = changed_cells(kinds + t * cells, cells);
  });
  for (int64_t t = 0; t < frames; ++t) starts[t + 1] += starts[t];

  *data<int64_t>(tensors.count) = starts[frames];
  for (int64_t t = 0; t <= frames; ++t)
    data<int32_t>(tensors.cu_seqlens)[t] = static_cast<int32_t>(std::min(starts[t], capacity));
  auto* out = data<int64_t>(tensors.index);
  torch::stable::parallel_for(0, frames, kFrameGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      write_indices(kinds, t, cells, out, std::min(starts[t], capacity),
                    std::min(starts[t + 1], capacity));
  });
  std::fill(out + std::min(starts[frames], capacity), out + capacity, -1);
  return tensors.results();
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) { m.impl("compact", TORCH_BOX(&patchgate::compact)); }
