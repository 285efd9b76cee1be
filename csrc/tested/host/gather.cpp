// The arithmetic of gather.h on numpy arrays: output by output, as a back end that knows no rows
// does, and by the CPU's row passes.
#include <pybind11/stl.h>

#include <string>

#include "cpu/gather/gather_cells.h"
#include "tested/host/host.h"

namespace patchgate {
namespace {

TapTable filter_table(const Array<int32_t>& table, int64_t in) {
  if (table.ndim() != 2 || table.shape(1) < 2) throw py::value_error("expected [out, 1 + taps]");
  const TapTable taps{table.data(), table.shape(0), table.shape(1) - 1};
  if (!valid_filter(taps, in)) throw py::value_error("taps do not fit the planes");
  return taps;
}

RowLevel row_level(const std::string& path) {
  for (int i = 0; i <= static_cast<int>(best_row_level()); ++i) {
    if (path == kLevels[i]) return RowLevel{i};
  }
  throw py::value_error("no path of this name on this machine: " + path);
}

template <typename Sample>
void run_by_sample(const Picture<Sample>& picture, const TapTable& taps_x, const TapTable& taps_y,
                   const CellLayout& layout, const CellRun& run, int64_t frame, bool vertical_first,
                   uint8_t* out) {
  const int64_t cell = layout.cell(), patch = layout.patch;
  for (int64_t y = 0; y < cell; ++y) {
    for (int64_t x = 0; x < cell; ++x) {
      const Rgb rgb = gather_sample(picture, taps_x.row(run.cx * cell + x),
                                    static_cast<int>(taps_x.count), taps_y.row(run.cy * cell + y),
                                    static_cast<int>(taps_y.count), vertical_first);
      const int64_t row = run.first * layout.rows() + y / patch * layout.merge + x / patch;
      uint8_t* to = out + row * layout.row_size() + x % patch * layout.step();
      for (int c = 0; c < 3; ++c) to[layout.offset(c, frame, y % patch)] = rgb.channel[c];
    }
  }
}

// The op with u8 values as they are, before the levels. `matrix` is empty for RGB.
template <typename Sample>
Array<uint8_t> gather_cells(const Array<Sample>& y,                            // [T, H', W']
                            const Array<Sample>& cb, const Array<Sample>& cr,  // [T, H'', W'']
                            const Array<int64_t>& index,                       // [capacity]
                            const Array<int32_t>& taps_x,                      // [W, 1 + taps]
                            const Array<int32_t>& taps_y,                      // [H, 1 + taps]
                            const std::vector<int32_t>& matrix, int bit_depth, int64_t patch,
                            int64_t merge, int64_t temporal_patch, bool channels_last,
                            bool vertical_first, const std::string& path) {
  const TapTable x_table = filter_table(taps_x, y.shape(2));
  const TapTable y_table = filter_table(taps_y, y.shape(1));
  const CellLayout layout{patch, merge, temporal_patch, channels_last};
  ColourMatrix factors{};
  if (!matrix.empty()) {
    factors = {matrix.at(0), matrix.at(1), matrix.at(2), matrix.at(3), matrix.at(4), matrix.at(5)};
  }
  Picture<Sample> picture{{},          {y.shape(2), cb.shape(2), cr.shape(2)},
                          y.shape(1),  y.shape(2),
                          cb.shape(1), cb.shape(2),
                          bit_depth,   matrix.empty() ? nullptr : &factors};
  const bool by_sample = path == "sample";
  const RowLevel level = by_sample ? RowLevel::kPortable : row_level(path);
  const Filters filters{QuadTaps(x_table, level), QuadTaps(y_table, level), vertical_first};
  std::vector<uint8_t> levels(3 * 256);
  for (size_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<uint8_t>(i);
  CellGather<Sample, uint8_t> gather(picture, filters, layout, levels.data());

  Array<uint8_t> out({index.shape(0) * layout.rows(), layout.row_size()});
  std::fill_n(out.mutable_data(), out.size(), uint8_t{0});
  for (const CellRun& run :
       cell_runs(index.data(), index.shape(0), y_table.out / layout.cell(),
                 x_table.out / layout.cell(), by_sample ? 1 : longest_run(layout))) {
    for (int64_t frame = 0; frame < temporal_patch; ++frame) {
      const int64_t t = std::min<int64_t>(run.tubelet * temporal_patch + frame, y.shape(0) - 1);
      picture.plane[0] = y.data(t), picture.plane[1] = cb.data(t), picture.plane[2] = cr.data(t);
      if (by_sample) {
        run_by_sample(picture, x_table, y_table, layout, run, frame, vertical_first,
                      out.mutable_data());
      } else {
        gather.run(picture.plane, run, frame, out.mutable_data());
      }
    }
  }
  return out;
}

}  // namespace

void bind_gather(py::module_& m) {
  const auto cells = [&](auto function) {
    m.def("gather_cells", function, py::arg("y").noconvert(), py::arg("cb").noconvert(),
          py::arg("cr").noconvert(), py::arg("index"), py::arg("taps_x"), py::arg("taps_y"),
          py::arg("matrix"), py::arg("bit_depth"), py::arg("patch"), py::arg("merge"),
          py::arg("temporal_patch"), py::arg("channels_last"), py::arg("vertical_first"),
          py::arg("path"));
  };
  cells(&gather_cells<uint8_t>);
  cells(&gather_cells<uint16_t>);
}

}  // namespace patchgate
