// The frame grid's CUDA kernel on numpy arrays.
#include <algorithm>
#include <cstring>

#include "cuda/frame_grid_kernels.h"
#include "tested/emulated/module.h"

namespace patchgate {
namespace {

template <typename Sample>
GridPlane<Sample> plane(const py::array_t<Sample>& samples,  // [T, H', W'], any strides
                        const Array<int32_t>& taps_x, const Array<int32_t>& taps_y, bool chroma,
                        bool full_range) {
  const auto stride = [&](int axis) {
    return static_cast<int64_t>(samples.strides(axis)) / static_cast<int64_t>(sizeof(Sample));
  };
  return {samples.data(),
          stride(0),
          stride(1),
          stride(2),
          taps_x.data(),
          taps_y.data(),
          static_cast<int>(taps_x.shape(1)) - 1,
          static_cast<int>(taps_y.shape(1)) - 1,
          last_taps(samples.shape(2), taps_x.shape(1) - 1),
          last_taps(samples.shape(1), taps_y.shape(1) - 1),
          grid_levels(chroma, full_range)};
}

// `room` is how many input rows a block may keep; -1: as many as the op gives it.
template <typename Sample>
Array<uint8_t> frame_grid(const py::array_t<Sample>& y, const py::array_t<Sample>& cb,
                          const py::array_t<Sample>& cr, const Array<int32_t>& luma_x,
                          const Array<int32_t>& luma_y, const Array<int32_t>& chroma_x,
                          const Array<int32_t>& chroma_y, bool full_range, int bit_depth, int room,
                          unsigned blocks, uint32_t seed) {
  Array<uint8_t> out({y.shape(0), py::ssize_t{3}, luma_y.shape(0), luma_x.shape(0)});
  std::memset(out.mutable_data(), 0xAB, out.nbytes());  // what is not written will show
  GridPlan<Sample> plan{.planes = {plane<Sample>(y, luma_x, luma_y, false, full_range),
                                   plane<Sample>(cb, chroma_x, chroma_y, true, full_range),
                                   plane<Sample>(cr, chroma_x, chroma_y, true, full_range)},
                        .out = out.mutable_data(),
                        .images = y.shape(0) * 3,
                        .height = static_cast<int>(luma_y.shape(0)),
                        .width = static_cast<int>(luma_x.shape(0)),
                        .bit_depth = bit_depth,
                        .room = room};
  for (int i = 0; room < 0 && i < 3; ++i)
    plan.room = std::max(plan.room, grid_room(plan.planes[i].count_y));
  blocks = static_cast<unsigned>(std::min<int64_t>(blocks, plan.tiles()));
  emulate::run(
      {{blocks}, {kGridThreads}, static_cast<size_t>(grid_shared_bytes(plan.room)), 3, seed},
      [&] { frame_grid_kernel(plan); });
  return out;
}

}  // namespace

void bind_frame_grid_emulated(py::module_& m) {
  const auto bind = [&](auto function) {
    m.def("frame_grid", function, py::arg("y").noconvert(), py::arg("cb").noconvert(),
          py::arg("cr").noconvert(), py::arg("luma_x"), py::arg("luma_y"), py::arg("chroma_x"),
          py::arg("chroma_y"), py::arg("full_range"), py::arg("bit_depth"), py::arg("room"),
          py::arg("blocks"), py::arg("seed"));
  };
  bind(&frame_grid<uint8_t>);
  bind(&frame_grid<uint16_t>);
}

}  // namespace patchgate
