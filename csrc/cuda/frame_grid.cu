#include "cuda/common.h"
#include "frame_grid.h"

namespace patchgate {
namespace {

constexpr int kBlockX = 32, kBlockY = 8;

template <typename Sample>
struct Plane {
  const Sample* data;                // [T, H', W']
  int64_t frame_stride, row_stride;  // in samples
  const int32_t* taps_x;             // [W, 1 + count_x]
  const int32_t* taps_y;             // [H, 1 + count_y]
  int count_x, count_y;
  Levels levels;
};

template <typename Sample>
struct Planes {
  Plane<Sample> of[3];
};

// A thread makes one sample. A warp lies along a row: its reads of the plane are neighbours, its
// vertical taps are the same. Every row of the input is weighed again for each output that it
// reaches; with a triangle filter those are two, so there is little for shared memory to save.
template <typename Sample>
__global__ void frame_grid_kernel(const __grid_constant__ Planes<Sample> planes,
                                  uint8_t* __restrict__ out,  // [T, 3, H, W]
                                  uint32_t images,            // T * 3
                                  int height, int width, int bit_depth) {
  const int x = blockIdx.x * kBlockX + threadIdx.x;
  if (x >= width) return;
  for (uint32_t image = blockIdx.z; image < images; image += gridDim.z) {
    const Plane<Sample>& plane = planes.of[image % 3];
    const Sample* data = plane.data + static_cast<int64_t>(image / 3) * plane.frame_stride;
    const int32_t* taps_x = plane.taps_x + static_cast<int64_t>(x) * (1 + plane.count_x);
    for (int y = blockIdx.y * kBlockY + threadIdx.y; y < height; y += gridDim.y * kBlockY) {
      const int32_t* taps_y = plane.taps_y + static_cast<int64_t>(y) * (1 + plane.count_y);
      out[(static_cast<int64_t>(image) * height + y) * width + x] =
          grid_sample(data, plane.row_stride, taps_x, plane.count_x, taps_y, plane.count_y,
                      bit_depth, plane.levels);
    }
  }
}

template <typename Sample>
Plane<Sample> plane(const Tensor& tensor, const Tensor& y, const Tensor& taps_x,
                    const Tensor& taps_y, Levels levels, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 3 && tensor.size(0) == y.size(0), name,
                  ": expected [T, H, W] with as many frames as y");
  STD_TORCH_CHECK(tensor.scalar_type() == y.scalar_type(), name, ": dtype differs from y's");
  STD_TORCH_CHECK(tensor.size(2) <= 1 || tensor.stride(2) == 1, name,
                  ": the samples of a row must be adjacent (last stride 1)");
  for (const Tensor* table : {&taps_x, &taps_y}) {
    check_dense(*table, ScalarType::Int, 2, name);
    check_cuda(*table, y, name);
  }
  check_cuda(tensor, y, name);
  return {static_cast<const Sample*>(tensor.const_data_ptr()),
          tensor.stride(0),
          tensor.stride(1),
          static_cast<const int32_t*>(taps_x.const_data_ptr()),
          static_cast<const int32_t*>(taps_y.const_data_ptr()),
          static_cast<int>(taps_x.size(1)) - 1,
          static_cast<int>(taps_y.size(1)) - 1,
          levels};
}

template <typename Sample>
void launch(const Planes<Sample>& planes, const Tensor& out, int bit_depth) {
  if (out.numel() == 0) return;
  const int64_t images = out.size(0) * 3, height = out.size(2), width = out.size(3);
  const dim3 grid(blocks_for(width, kBlockX), blocks_for(height, kBlockY, kMaxGridYZ),
                  blocks_for(images, 1, kMaxGridYZ));
  frame_grid_kernel<<<grid, dim3(kBlockX, kBlockY), 0, current_stream(out)>>>(
      planes, static_cast<uint8_t*>(out.mutable_data_ptr()), static_cast<uint32_t>(images),
      static_cast<int>(height), static_cast<int>(width), bit_depth);
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
  const torch::stable::accelerator::DeviceGuard guard(y.get_device());
  const Levels luma = grid_levels(false, full_range), chroma = grid_levels(true, full_range);
  const Tensor out =
      torch::stable::new_empty(y, {y.size(0), 3, luma_y.size(0), luma_x.size(0)}, ScalarType::Byte);
  const auto run = [&]<typename Sample>(Sample) {
    launch(Planes<Sample>{{plane<Sample>(y, y, luma_x, luma_y, luma, "y"),
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
