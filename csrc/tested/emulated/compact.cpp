// compact's CUDA kernel on numpy arrays.
#include <cstring>
#include <tuple>
#include <vector>

#include "cuda/compact_kernels.h"
#include "tested/emulated/module.h"

namespace patchgate {
namespace {

std::tuple<Array<int64_t>, Array<int32_t>, Array<int64_t>> compact(
    const Array<uint8_t>& kind,  // [F, N]
    int64_t capacity, unsigned resident, uint32_t seed) {
  Array<int64_t> index(capacity), count(1);
  Array<int32_t> cu_seqlens(kind.shape(0) + 1);
  std::memset(index.mutable_data(), 0xAB, index.nbytes());  // what is not written will show
  CompactPlan plan{kind.data(),
                   kind.shape(0),
                   kind.shape(1),
                   capacity,
                   index.mutable_data(),
                   cu_seqlens.mutable_data(),
                   count.mutable_data(),
                   nullptr,
                   nullptr};
  std::vector<unsigned long long> progress(plan.tiles() + 1);
  plan.status = progress.data();
  plan.next_tile = reinterpret_cast<int32_t*>(plan.status + plan.tiles());
  emulate::run({{static_cast<unsigned>(plan.tiles())},
                {kCompactThreads},
                sizeof(CompactShared),
                resident,
                seed},
               [&] { compact_kernel(plan); });
  return {index, cu_seqlens, count};
}

}  // namespace

void bind_compact_emulated(py::module_& m) {
  m.def("compact", &compact, py::arg("kind").noconvert(), py::arg("capacity"), py::arg("resident"),
        py::arg("seed"));
}

}  // namespace patchgate
