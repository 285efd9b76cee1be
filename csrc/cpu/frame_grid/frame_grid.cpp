#include "cpu/frame_grid/frame_grid_plane.h"
#include "frame_grid_tensors.h"

namespace patchgate {
namespace {

// Rows of the output that one task makes: enough to hide the rows that neighbouring bands share.
constexpr int64_t kBandRows = 96;

TapTable tap_table(const Tensor& table, int64_t in, const char* name) {
  const TapTable taps{const_data<int32_t>(table), table.size(0), table.size(1) - 1};
  STD_TORCH_CHECK(valid_taps(taps, in), name,
                  ": taps outside the plane, negative, or not summing to ", kTapOne);
  return taps;
}

struct Plane {
  const Tensor* tensor;  // [T, H', W']
  PlaneGrid grid;
};

template <typename Sample>
void run(const std::vector<Plane>& planes, uint8_t* out) {  // out [T, 3, H, W]
  const int64_t height = static_cast<int64_t>(planes[0].grid.rows.first.size());
  const int64_t width = planes[0].grid.columns.table.out;
  const int64_t bands = (height + kBandRows - 1) / kBandRows;
  const int64_t frames = planes[0].tensor->size(0);
  // Planes innermost: a thread's share of the tasks then has as much luma as any other's.
  torch::stable::parallel_for(0, frames * bands * 3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t c = task % 3, band = task / 3 % bands, t = task / 3 / bands;
      const Tensor& tensor = *planes[c].tensor;
      const Sample* data = static_cast<const Sample*>(tensor.const_data_ptr());
      planes[c].grid.band(data + t * tensor.stride(0), tensor.stride(1),
                          out + (t * 3 + c) * height * width, band * kBandRows,
                          std::min(height, (band + 1) * kBandRows));
    }
  });
}

Tensor frame_grid(Tensor y, Tensor cb, Tensor cr,        // [T, H', W'], [T, H'', W''] x 2
                  Tensor luma_x, Tensor luma_y,          // [W, 1 + taps], [H, 1 + taps]
                  Tensor chroma_x, Tensor chroma_y,      // [W, 1 + taps], [H, 1 + taps]
                  bool full_range, int64_t bit_depth) {  // -> [T, 3, H, W]
  const FrameGridTensors in(y, cb, cr, luma_x, luma_y, chroma_x, chroma_y, bit_depth);
  std::vector<TapTable> across, down;
  for (int c = 0; c < 3; ++c) {
    const Tensor& plane = in.planes[c];
    STD_TORCH_CHECK(plane.size(2) <= 1 || plane.stride(2) == 1, in.kNames[c],
                    ": the samples of a row must be adjacent (last stride 1)");
    across.push_back(tap_table(in.taps_x[c], plane.size(2), in.kNames[c]));
    down.push_back(tap_table(in.taps_y[c], plane.size(1), in.kNames[c]));
  }
  if (in.out.numel() == 0) return in.out;
  std::vector<Plane> planes;
  for (int c = 0; c < 3; ++c) {
    const Tensor& plane = in.planes[c];
    planes.push_back(
        {&plane, PlaneGrid(across[c], down[c], plane.size(1), plane.size(2), in.bit_depth,
                           grid_levels(c > 0, full_range), best_row_level())});
  }
  in.eight_bit ? run<uint8_t>(planes, data<uint8_t>(in.out))
               : run<uint16_t>(planes, data<uint8_t>(in.out));
  return in.out;
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("frame_grid", TORCH_BOX(&patchgate::frame_grid));
}
