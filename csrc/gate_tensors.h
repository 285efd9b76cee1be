// The gate's tensors, checked alike on the CPU and on CUDA, and where their elements lie.
#pragma once

#include <optional>
#include <tuple>

#include "gate_call.h"
#include "torch.h"

namespace patchgate {

inline GateShape gate_shape(const Tensor& planes, const Tensor& source, int64_t cell,
                            int64_t sub_block) {
  check_dense(planes, ScalarType::Byte, 6, "gate: planes");
  STD_TORCH_CHECK(source.dim() == 3, "gate: source: expected 3 dimensions");
  GateShape shape{planes.size(0), planes.size(1), planes.size(2), planes.size(3), planes.size(4),
                  planes.size(5), cell,           sub_block,      source.size(1), source.size(2)};
  STD_TORCH_CHECK(cell > 0 && cell <= 256 && sub_block > 0 && cell % sub_block == 0, "gate: cell ",
                  cell, " must be 1..256 pixels and a multiple of sub_block ", sub_block);
  STD_TORCH_CHECK(shape.h * cell == shape.height && shape.w * cell == shape.width,
                  "gate: ", shape.height, " x ", shape.width, " pixels are not ", shape.h, " x ",
                  shape.w, " cells of ", cell, " pixels");
  return shape;
}

inline GateState gate_state(const GateShape& shape, const Tensor& picture, const Tensor& ids,
                            const Tensor& source, const Tensor& clock, const Tensor& births,
                            const Tensor& quartiles) {
  check_dense(picture, ScalarType::Byte, 5, "gate: picture");
  check_dense(ids, ScalarType::Int, 3, "gate: ids");
  check_dense(source, ScalarType::Long, 3, "gate: source");
  check_dense(clock, ScalarType::Long, 2, "gate: clock");
  check_dense(births, ScalarType::Long, 2, "gate: births");
  check_dense(quartiles, ScalarType::Int, 2, "gate: quartiles");
  STD_TORCH_CHECK(picture.numel() == shape.streams * shape.picture() &&
                      ids.numel() == shape.streams * shape.plane() &&
                      source.size(0) == shape.streams && clock.numel() == 2 * shape.streams &&
                      births.size(0) == shape.streams &&
                      quartiles.numel() == kQuartiles * shape.streams,
                  "gate: the state does not belong to planes of this shape");
  return {data<uint8_t>(picture), data<int32_t>(ids),    data<int64_t>(source),
          data<int64_t>(clock),   data<int64_t>(births), data<int32_t>(quartiles)};
}

// `map` is the op's threshold_map, contiguous.
inline GateRules gate_rules(const GateShape& shape, const std::optional<Tensor>& map, int64_t limit,
                            int64_t texture, int64_t search_radius, int64_t on_motion, int64_t cut,
                            double hysteresis, bool adaptive, int64_t precision, int64_t max_age) {
  STD_TORCH_CHECK(precision == 1 || precision == 2 || precision == 4, "gate: motion_precision ",
                  precision, " must be 1, 2 or 4");
  STD_TORCH_CHECK(search_radius >= 0 && search_radius <= kMostSteps / precision,
                  "gate: search_radius ", search_radius, " must be 0..", kMostSteps / precision);
  if (map) {
    check_dense(*map, ScalarType::Double, 2, "gate: threshold_map");
    STD_TORCH_CHECK(map->numel() == shape.cells(), "gate: threshold_map has ", map->numel(),
                    " cells, the grid ", shape.cells());
  }
  return {static_cast<int32_t>(limit),
          static_cast<int32_t>(texture),
          search_radius,
          on_motion,
          cut,
          hysteresis,
          adaptive,
          precision,
          max_age,
          map ? const_data<double>(*map) : nullptr};
}

// What the op returns, on the device of the planes.
struct GateOutputs {
  Tensor kind, motion, cost, source, is_key, limit;

  GateOutputs(const Tensor& planes, const GateShape& shape) {
    const std::vector<int64_t> frames{shape.streams, shape.frames};
    std::vector<int64_t> cells{shape.streams, shape.frames, shape.h, shape.w};
    kind = empty_like_device(planes, cells, ScalarType::Byte);
    cost = empty_like_device(planes, cells, ScalarType::Int);
    source = empty_like_device(planes, cells, ScalarType::Long);
    cells.push_back(2);
    motion = empty_like_device(planes, cells, ScalarType::Char);
    is_key = empty_like_device(planes, frames, ScalarType::Bool);
    limit = empty_like_device(planes, frames, ScalarType::Int);
  }

  // Of stream 0, frame 0.
  GateResult result() const {
    return {data<uint8_t>(kind),   data<int8_t>(motion), data<int32_t>(cost),
            data<int64_t>(source), data<bool>(is_key),   data<int32_t>(limit)};
  }

  std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> tensors() const {
    return {kind, motion, cost, source, is_key, limit};
  }
};

}  // namespace patchgate
