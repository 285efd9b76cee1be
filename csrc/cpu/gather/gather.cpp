#include <optional>

#include "cpu/gather/gather_cells.h"
#include "torch.h"

namespace patchgate {
namespace {

// Far more than any tower has, and little enough that no product of them leaves 63 bits.
constexpr int64_t kMostCell = int64_t{1} << 14;  // patch, merge, temporal_patch
constexpr int64_t kMostSamples = INT32_MAX;      // along a side of a plane

TapTable tap_table(const Tensor& table, int64_t in, const char* name) {
  check_dense(table, ScalarType::Int, 2, name);
  STD_TORCH_CHECK(table.size(0) >= 1 && table.size(1) >= 2, name,
                  ": expected [out, 1 + taps], got ", text_of(table.sizes()));
  const TapTable taps{const_data<int32_t>(table), table.size(0), table.size(1) - 1};
  STD_TORCH_CHECK(valid_filter(taps, in), name, ": taps outside the plane or too large");
  return taps;
}

ColourMatrix colour_matrix(const Tensor& tensor) {
  check_dense(tensor, ScalarType::Int, 1, "matrix");
  STD_TORCH_CHECK(tensor.size(0) == 6, "matrix: expected 6 numbers, got ", tensor.size(0));
  const auto* m = const_data<int32_t>(tensor);
  int64_t most = 0;  // of a sum before its shift: far more than any real matrix needs
  for (int i = 2; i < 6; ++i) most += std::abs(int64_t{m[i]}) * kChromaMid;
  most += std::abs(int64_t{m[0]}) * 255 + std::abs(int64_t{m[1]});
  STD_TORCH_CHECK(most < INT32_MAX, "matrix: factors too large");
  return {m[0], m[1], m[2], m[3], m[4], m[5]};
}

void check_planes(const Tensor& y, const Tensor& cb, const Tensor& cr, bool rgb, int64_t depth) {
  const bool eight_bit = y.scalar_type() == ScalarType::Byte;
  STD_TORCH_CHECK(
      eight_bit ? depth == 8 : y.scalar_type() == ScalarType::UInt16 && depth > 8 && depth <= 16,
      "gather: expected uint8 planes of 8 bit or uint16 planes of 9 to 16 bit");
  for (const Tensor* plane : {&y, &cb, &cr}) {
    STD_TORCH_CHECK(plane->dim() == 3, "gather: expected planes [T, H, W], got ", plane->dim(),
                    " dimensions");
    STD_TORCH_CHECK(plane->scalar_type() == y.scalar_type() && plane->size(0) == y.size(0),
                    "gather: planes of different dtypes or numbers of frames");
    STD_TORCH_CHECK(plane->size(1) > 0 && plane->size(2) > 0, "gather: planes without pixels");
    STD_TORCH_CHECK(plane->size(1) <= kMostSamples && plane->size(2) <= kMostSamples,
                    "gather: planes of ", plane->size(1), " x ", plane->size(2),
                    " samples are too large");
    STD_TORCH_CHECK(plane->size(2) == 1 || plane->stride(2) == 1,
                    "gather: the samples of a row must be adjacent (last stride 1)");
  }
  STD_TORCH_CHECK(cb.size(1) == cr.size(1) && cb.size(2) == cr.size(2),
                  "gather: cb and cr differ in size");
  for (int64_t axis = 1; axis < 3; ++axis) {
    const bool fits =
        rgb ? cb.size(axis) == y.size(axis) : chroma_step(y.size(axis), cb.size(axis)) > 0;
    STD_TORCH_CHECK(fits, "gather: cb and cr of ", cb.size(axis), " samples do not belong to ",
                    y.size(axis), " of y");
  }
}

struct Job {
  const Tensor (&planes)[3];
  const Filters& filters;
  CellLayout layout;
  const ColourMatrix* matrix;
  int bit_depth;
  const std::vector<CellRun>& runs;
};

template <typename Sample, typename Element>
void gather_cells(const Job& job, const Tensor& levels, Element* out) {
  const auto& [y, cb, cr] = job.planes;
  const Picture<Sample> picture{{},
                                {y.stride(1), cb.stride(1), cr.stride(1)},
                                y.size(1),
                                y.size(2),
                                cb.size(1),
                                cb.size(2),
                                job.bit_depth,
                                job.matrix};
  const int64_t frames = job.layout.frames, last = y.size(0) - 1;
  const int64_t tasks = static_cast<int64_t>(job.runs.size()) * frames;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    CellGather<Sample, Element> gather(picture, job.filters, job.layout,
                                       const_data<Element>(levels));
    for (int64_t task = begin; task < end; ++task) {
      const CellRun& run = job.runs[task / frames];
      const int64_t frame = task % frames;
      const int64_t t = std::min(run.tubelet * frames + frame, last);  // an odd one is repeated
      const Sample* planes[3];
      for (int c = 0; c < 3; ++c) {
        planes[c] = const_data<Sample>(job.planes[c]) + t * job.planes[c].stride(0);
      }
      gather.run(planes, run, frame, out);
    }
  });
}

template <typename Element>
void run(const Job& job, const Tensor& index, const Tensor& levels, const Tensor& out) {
  const int64_t* entries = const_data<int64_t>(index);
  const int64_t size = job.layout.rows() * job.layout.row_size();
  auto* to = data<Element>(out);
  for (int64_t k = 0; k < index.size(0); ++k) {
    if (entries[k] < 0) std::memset(to + k * size, 0, size * sizeof(Element));
  }
  if (job.planes[0].scalar_type() == ScalarType::Byte) {
    gather_cells<uint8_t, Element>(job, levels, to);
  } else {
    gather_cells<uint16_t, Element>(job, levels, to);
  }
}

std::vector<CellRun> checked_runs(const Tensor& index, int64_t tubelets, int64_t h, int64_t w,
                                  int64_t most) {
  check_dense(index, ScalarType::Long, 1, "index");
  const int64_t* entries = const_data<int64_t>(index);
  const int64_t cells = product_of({tubelets, h, w}, "gather: cells");
  for (int64_t k = 0; k < index.size(0); ++k) {
    STD_TORCH_CHECK(entries[k] < cells, "gather: index ", entries[k], " is not one of ", cells,
                    " cells");
  }
  return cell_runs(entries, index.size(0), h, w, most);
}

Tensor gather(Tensor y, Tensor cb, Tensor cr,  // [T, H', W'], [T, H'', W''] x 2
              Tensor index,                    // [capacity]
              Tensor taps_x, Tensor taps_y,    // [W, 1 + taps], [H, 1 + taps]
              std::optional<Tensor> matrix,    // [6]
              Tensor levels,                   // [3, 256]
              int64_t bit_depth, int64_t patch, int64_t merge, int64_t temporal_patch,
              bool channels_last,
              bool vertical_first) {  // -> [capacity * merge * merge, f * 3 * P * P]
  check_planes(y, cb, cr, !matrix.has_value(), bit_depth);
  for (const int64_t side : {patch, merge, temporal_patch})
    STD_TORCH_CHECK(side >= 1 && side <= kMostCell,
                    "gather: patch, merge and temporal_patch must be 1..", kMostCell, ", got ",
                    patch, ", ", merge, ", ", temporal_patch);
  const CellLayout layout{patch, merge, temporal_patch, channels_last};
  const TapTable across = tap_table(taps_x, y.size(2), "taps_x");
  const TapTable down = tap_table(taps_y, y.size(1), "taps_y");
  STD_TORCH_CHECK(taps_x.size(0) % layout.cell() == 0 && taps_y.size(0) % layout.cell() == 0,
                  "gather: the tap tables do not make whole cells of ", layout.cell(), " pixels");
  const ScalarType dtype = levels.scalar_type();
  STD_TORCH_CHECK(
      dtype == ScalarType::Float || dtype == ScalarType::Half || dtype == ScalarType::BFloat16,
      "levels: expected float32, float16 or bfloat16");
  check_dense(levels, dtype, 2, "levels");
  STD_TORCH_CHECK(levels.size(0) == 3 && levels.size(1) == 256, "levels: expected [3, 256]");

  const Filters filters{QuadTaps(across, best_row_level()), QuadTaps(down, best_row_level()),
                        vertical_first};
  const int64_t tubelets = y.size(0) / temporal_patch + (y.size(0) % temporal_patch != 0);
  const auto runs = checked_runs(index, tubelets, filters.rows.out / layout.cell(),
                                 filters.columns.out / layout.cell(), longest_run(layout));
  ColourMatrix factors{};
  if (matrix.has_value()) factors = colour_matrix(*matrix);
  const Tensor planes[3] = {y, cb, cr};
  const Job job{
      planes, filters, layout, matrix.has_value() ? &factors : nullptr, static_cast<int>(bit_depth),
      runs};
  const int64_t rows = product_of({index.size(0), layout.rows()}, "gather: rows");
  Tensor out = empty_like_device(levels, {rows, layout.row_size()}, dtype);
  // The levels are copied, never computed with: only their size matters.
  if (dtype == ScalarType::Float) {
    run<uint32_t>(job, index, levels, out);
  } else {
    run<uint16_t>(job, index, levels, out);
  }
  return out;
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) { m.impl("gather", TORCH_BOX(&patchgate::gather)); }
