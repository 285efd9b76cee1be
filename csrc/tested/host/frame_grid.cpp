// frame_grid.h on numpy arrays, and beside it the CPU's row passes.
#include "frame_grid.h"

#include <pybind11/stl.h>

#include <string>

#include "cpu/frame_grid/frame_grid_plane.h"
#include "tested/host/host.h"

namespace patchgate {
namespace {

TapTable tap_table(const Array<int32_t>& table, int64_t in) {
  if (table.ndim() != 2 || table.shape(1) < 2) throw py::value_error("expected [out, 1 + taps]");
  const TapTable taps{table.data(), table.shape(0), table.shape(1) - 1};
  if (!valid_taps(taps, in)) throw py::value_error("taps do not fit the plane");
  return taps;
}

// How a plane can be made here: one output after another, as CUDA does, or by the CPU's row passes.
std::vector<std::string> grid_paths() {
  std::vector<std::string> paths{"sample"};
  for (int i = 0; i <= static_cast<int>(best_row_level()); ++i) paths.push_back(kLevels[i]);
  return paths;
}

template <typename Sample>
Array<uint8_t> grid_plane(const Array<Sample>& plane,                                  // [H', W']
                          const Array<int32_t>& taps_x, const Array<int32_t>& taps_y,  // [., 1 + n]
                          int bit_depth, bool chroma, bool full_range, const std::string& path) {
  const int64_t in_height = plane.shape(0), in_width = plane.shape(1);
  const TapTable x_table = tap_table(taps_x, in_width), y_table = tap_table(taps_y, in_height);
  const Levels levels = grid_levels(chroma, full_range);
  Array<uint8_t> out({y_table.out, x_table.out});  // [H, W]
  for (int i = 0; i <= static_cast<int>(best_row_level()); ++i) {
    if (path != kLevels[i]) continue;
    const PlaneGrid grid(x_table, y_table, in_height, in_width, bit_depth, levels, RowLevel{i});
    grid.band(plane.data(), in_width, out.mutable_data(), 0, y_table.out);
    return out;
  }
  if (path != "sample") throw py::value_error("no path of this name on this machine: " + path);
  for (int64_t y = 0; y < y_table.out; ++y) {
    for (int64_t x = 0; x < x_table.out; ++x) {
      *out.mutable_data(y, x) =
          grid_sample(plane.data(), in_width, x_table.taps(x), y_table.taps(y), bit_depth, levels);
    }
  }
  return out;
}

uint8_t expand(int32_t value, bool chroma) {
  return apply_levels(value, grid_levels(chroma, false));
}

}  // namespace

void bind_frame_grid(py::module_& m) {
  m.def("to_8bit", py::vectorize(to_8bit), "value, bit_depth -> u8 value");
  m.def("expand", py::vectorize(expand), "u8 value of limited range, chroma -> full range");
  m.def("frame_grid_paths", &grid_paths);
  const auto plane = [&](auto function) {
    m.def("frame_grid_plane", function, py::arg("plane").noconvert(), py::arg("taps_x"),
          py::arg("taps_y"), py::arg("bit_depth"), py::arg("chroma"), py::arg("full_range"),
          py::arg("path"));
  };
  plane(&grid_plane<uint8_t>);
  plane(&grid_plane<uint16_t>);
}

}  // namespace patchgate
