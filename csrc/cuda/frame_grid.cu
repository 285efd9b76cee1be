// The frame grid on CUDA: one launch on the current stream, planes read where they lie.
#include "cuda/common.h"
#include "cuda/frame_grid_kernels.h"
#include "frame_grid_tensors.h"

namespace patchgate {
namespace {

template <typename Sample>
GridPlane<Sample> plane(const FrameGridTensors& in, int c, Levels levels) {
  const Tensor &plane = in.planes[c], &taps_x = in.taps_x[c], &taps_y = in.taps_y[c];
  const int64_t count_x = taps_x.size(1) - 1, count_y = taps_y.size(1) - 1;
  return {const_data<Sample>(plane),
          plane.stride(0),
          plane.stride(1),
          plane.stride(2),
          const_data<int32_t>(taps_x),
          const_data<int32_t>(taps_y),
          static_cast<int>(count_x),
          static_cast<int>(count_y),
          last_taps(plane.size(2), count_x),
          last_taps(plane.size(1), count_y),
          levels};
}

template <typename Sample>
void launch(GridPlan<Sample> plan, const Tensor& out, int bit_depth) {
  if (out.numel() == 0) return;
  plan.out = data<uint8_t>(out);
  plan.images = out.size(0) * 3;
  plan.height = static_cast<int>(out.size(2)), plan.width = static_cast<int>(out.size(3));
  plan.bit_depth = bit_depth;
  for (const GridPlane<Sample>& plane : plan.planes)
    plan.room = std::max(plan.room, grid_room(plane.count_y));
  frame_grid_kernel<<<grid_of(plan.tiles()), kGridThreads, grid_shared_bytes(plan.room),
                      current_stream(out)>>>(plan);
  check_launch("frame_grid");
}

// Looking into the tables would mean waiting for the device: taps outside a plane are moved into
// it.
Tensor frame_grid(Tensor y, Tensor cb, Tensor cr,        // [T, H', W'], [T, H'', W''] x 2
                  Tensor luma_x, Tensor luma_y,          // [W, 1 + taps], [H, 1 + taps]
                  Tensor chroma_x, Tensor chroma_y,      // [W, 1 + taps], [H, 1 + taps]
                  bool full_range, int64_t bit_depth) {  // -> [T, 3, H, W]
  check_cuda(y, y, "frame_grid: y");
  const torch::stable::accelerator::DeviceGuard guard(y.get_device());
  const FrameGridTensors in(y, cb, cr, luma_x, luma_y, chroma_x, chroma_y, bit_depth);
  for (int c = 0; c < 3; ++c)
    for (const Tensor* tensor : {&in.planes[c], &in.taps_x[c], &in.taps_y[c]})
      check_cuda(*tensor, y, in.kNames[c]);
  const Levels luma = grid_levels(false, full_range), chroma = grid_levels(true, full_range);
  const auto run = [&]<typename Sample>(Sample) {
    launch(GridPlan<Sample>{.planes = {plane<Sample>(in, 0, luma), plane<Sample>(in, 1, chroma),
                                       plane<Sample>(in, 2, chroma)}},
           in.out, in.bit_depth);
  };
  in.eight_bit ? run(uint8_t{}) : run(uint16_t{});
  return in.out;
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CUDA, m) {
  m.impl("frame_grid", TORCH_BOX(&patchgate::frame_grid));
}
