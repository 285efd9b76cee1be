#include "cpu/frame_grid_plane.h"
#include "torch.h"

namespace patchgate {
namespace {

// Rows of the output that one task makes: enough to hide the rows that neighbouring bands share.
constexpr int64_t kBandRows = 96;

TapTable tap_table(const Tensor& table, int64_t in, const char* name) {
  check_dense(table, ScalarType::Int, 2, name);
  STD_TORCH_CHECK(table.size(1) >= 2, name, ": expected [out, 1 + taps], got no taps");
  const TapTable taps{static_cast<const int32_t*>(table.const_data_ptr()), table.size(0),
                      table.size(1) - 1};
  STD_TORCH_CHECK(valid_taps(taps, in), name,
                  ": taps outside the plane, negative, or not summing to ", kTapOne);
  return taps;
}

struct Planes {
  const Tensor* tensor;  // [T, H', W']
  PlaneGrid grid;
};

Planes plane(const Tensor& tensor, const Tensor& y, const Tensor& table_x, const Tensor& table_y,
             int bit_depth, Levels levels, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 3, name, ": expected [T, H, W], got ", tensor.dim(),
                  " dimensions");
  STD_TORCH_CHECK(tensor.scalar_type() == y.scalar_type(), name, ": dtype differs from y's");
  STD_TORCH_CHECK(tensor.size(0) == y.size(0), name, ": ", tensor.size(0), " frames, y has ",
                  y.size(0));
  STD_TORCH_CHECK(tensor.size(2) <= 1 || tensor.stride(2) == 1, name,
                  ": the samples of a row must be adjacent (last stride 1)");
  return {&tensor, PlaneGrid(tap_table(table_x, tensor.size(2), name),
                             tap_table(table_y, tensor.size(1), name), tensor.size(1),
                             tensor.size(2), bit_depth, levels, best_row_level())};
}

template <typename Sample>
void run(const Planes (&planes)[3], uint8_t* out) {  // out [T, 3, H, W]
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
  const bool eight_bit = y.scalar_type() == ScalarType::Byte;
  STD_TORCH_CHECK(eight_bit
                      ? bit_depth == 8
                      : y.scalar_type() == ScalarType::UInt16 && bit_depth > 8 && bit_depth <= 16,
                  "frame_grid: expected uint8 planes of 8 bit or uint16 planes of 9 to 16 bit");
  STD_TORCH_CHECK(
      luma_x.size(0) == chroma_x.size(0) && luma_y.size(0) == chroma_y.size(0),
      "frame_grid: the tap tables of luma and chroma are for outputs of different sizes");
  const int depth = static_cast<int>(bit_depth);
  const Levels luma = grid_levels(false, full_range), chroma = grid_levels(true, full_range);
  const Planes planes[3] = {plane(y, y, luma_x, luma_y, depth, luma, "y"),
                            plane(cb, y, chroma_x, chroma_y, depth, chroma, "cb"),
                            plane(cr, y, chroma_x, chroma_y, depth, chroma, "cr")};
  Tensor out =
      torch::stable::new_empty(y, {y.size(0), 3, luma_y.size(0), luma_x.size(0)}, ScalarType::Byte);
  auto* data = static_cast<uint8_t*>(out.mutable_data_ptr());
  if (eight_bit) {
    run<uint8_t>(planes, data);
  } else {
    run<uint16_t>(planes, data);
  }
  return out;
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("frame_grid", TORCH_BOX(&patchgate::frame_grid));
}
