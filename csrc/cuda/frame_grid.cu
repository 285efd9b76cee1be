// The frame grid on CUDA: one launch on the current stream, planes read where they lie.
#include "cuda/common.h"
#include "cuda/frame_grid_kernels.h"

namespace patchgate {
namespace {

template <typename Sample>
GridPlane<Sample> plane(const Tensor& tensor, const Tensor& y, const Tensor& taps_x,
                        const Tensor& taps_y, Levels levels, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 3 && tensor.size(0) == y.size(0), name,
                  ": expected [T, H, W] with as many frames as y");
  STD_TORCH_CHECK(tensor.scalar_type() == y.scalar_type(), name, ": dtype differs from y's");
  for (const Tensor* table : {&taps_x, &taps_y}) {
    check_dense(*table, ScalarType::Int, 2, name);
    STD_TORCH_CHECK(table->size(1) >= 2, name, ": expected [out, 1 + taps], got no taps");
    check_cuda(*table, y, name);
  }
  check_cuda(tensor, y, name);
  return {const_data<Sample>(tensor),
          tensor.stride(0),
          tensor.stride(1),
          tensor.stride(2),
          const_data<int32_t>(taps_x),
          const_data<int32_t>(taps_y),
          static_cast<int>(taps_x.size(1)) - 1,
          static_cast<int>(taps_y.size(1)) - 1,
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

// The tables are trusted here: looking into them would mean waiting for the device.
Tensor frame_grid(Tensor y, Tensor cb, Tensor cr,        // [T, H', W'], [T, H'', W''] x 2
                  Tensor luma_x, Tensor luma_y,          // [W, 1 + taps], [H, 1 + taps]
                  Tensor chroma_x, Tensor chroma_y,      // [W, 1 + taps], [H, 1 + taps]
                  bool full_range, int64_t bit_depth) {  // -> [T, 3, H, W]
  STD_TORCH_CHECK(
      luma_x.size(0) == chroma_x.size(0) && luma_y.size(0) == chroma_y.size(0),
      "frame_grid: the tap tables of luma and chroma are for outputs of different sizes");
  check_cuda(y, y, "frame_grid: y");
  const torch::stable::accelerator::DeviceGuard guard(y.get_device());
  const Levels luma = grid_levels(false, full_range), chroma = grid_levels(true, full_range);
  const Tensor out =
      torch::stable::new_empty(y, {y.size(0), 3, luma_y.size(0), luma_x.size(0)}, ScalarType::Byte);
  const auto run = [&]<typename Sample>(Sample) {
    launch(GridPlan<Sample>{.planes = {plane<Sample>(y, y, luma_x, luma_y, luma, "y"),
                                       plane<Sample>(cb, y, chroma_x, chroma_y, chroma, "cb"),
                                       plane<Sample>(cr, y, chroma_x, chroma_y, chroma, "cr")}},
           out, static_cast<int>(bit_depth));
  };
  if (y.scalar_type() == ScalarType::Byte && bit_depth == 8) {
    run(uint8_t{});
  } else {
    STD_TORCH_CHECK(y.scalar_type() == ScalarType::UInt16 && bit_depth > 8 && bit_depth <= 16,
                    "frame_grid: expected uint8 planes of 8 bit or uint16 planes of 9 to 16 bit");
    run(uint16_t{});
  }
  return out;
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CUDA, m) {
  m.impl("frame_grid", TORCH_BOX(&patchgate::frame_grid));
}
