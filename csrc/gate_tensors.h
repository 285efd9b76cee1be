// The gate's tensors, checked alike on the CPU and on CUDA, and where their elements lie.
#pragma once

#include <optional>
#include <tuple>

#include "gate_checks.h"
#include "torch.h"

namespace patchgate {

inline void refuse(const std::string& fault) { STD_TORCH_CHECK(fault.empty(), fault); }

inline GateShape gate_shape(const Tensor& planes, const Tensor& source, int64_t cell,
                            int64_t sub_block) {
  check_dense(planes, ScalarType::Byte, 6, "gate: planes");
  check_dims(source, 3, "gate: source");
  const GateShape shape{planes.size(0), planes.size(1), planes.size(2), planes.size(3),
                        planes.size(4), planes.size(5), cell,           sub_block,
                        source.size(1), source.size(2)};
  refuse(fault_of(shape));
  return shape;
}

// State that shares memory would write over what was checked before.
constexpr int kStateTensors = 7;

inline void check_apart(const std::vector<NamedShape>& shapes,
                        const Tensor* const (&state)[kStateTensors]) {
  uintptr_t begin[kStateTensors], end[kStateTensors];
  for (int i = 0; i < kStateTensors; ++i) {
    begin[i] = reinterpret_cast<uintptr_t>(state[i]->const_data_ptr());
    end[i] = begin[i] + state[i]->numel() * state[i]->element_size();
    for (int j = 0; j < i; ++j)
      STD_TORCH_CHECK(begin[i] >= end[j] || begin[j] >= end[i], shapes[i].name,
                      ": shares memory with ", shapes[j].name);
  }
}

inline GateState gate_state(const GateShape& g, const Tensor& picture, const Tensor& ids,
                            const Tensor& source, const Tensor& clock, const Tensor& births,
                            const Tensor& quartiles, const Tensor& light) {
  check_dims(births, 2, "gate: births");
  check_dims(light, 6, "gate: light");
  refuse(fault_of_light(g, light.size(4)));
  const std::vector<NamedShape> shapes = state_shapes(g, births.size(1), light.size(4));
  const Tensor* const state[] = {&picture, &ids, &source, &clock, &births, &quartiles, &light};
  constexpr ScalarType kDtypes[] = {ScalarType::Byte, ScalarType::Int,  ScalarType::Long,
                                    ScalarType::Long, ScalarType::Long, ScalarType::Int,
                                    ScalarType::Int};
  for (int i = 0; i < kStateTensors; ++i)
    check_shaped(*state[i], kDtypes[i], shapes[i].sizes, shapes[i].name);
  check_apart(shapes, state);
  return {data<uint8_t>(picture),
          data<int32_t>(ids),
          data<int64_t>(source),
          data<int64_t>(clock),
          data<int64_t>(births),
          data<int32_t>(quartiles),
          light.size(4) ? data<int32_t>(light) : nullptr};
}

// `map` is the op's threshold_map, contiguous.
inline GateRules gate_rules(const GateShape& g, const std::optional<Tensor>& map, int64_t limit,
                            int64_t texture, int64_t search_radius, int64_t on_motion, int64_t cut,
                            double hysteresis, bool adaptive, int64_t precision, int64_t max_age) {
  refuse(fault_of_rules(limit, texture, search_radius, on_motion, cut, hysteresis, precision));
  if (map) check_shaped(*map, ScalarType::Double, {g.h, g.w}, "gate: threshold_map");
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

using GateTuple = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// What the op returns, on the device of the planes.
struct GateOutputs {
  Tensor kind, motion, cost, source, is_key, limit, weights, lit;

  GateOutputs(const Tensor& planes, const GateShape& shape, int64_t light_rows) {
    const std::vector<int64_t> frames{shape.streams, shape.frames};
    std::vector<int64_t> cells{shape.streams, shape.frames, shape.h, shape.w};
    kind = empty_like_device(planes, cells, ScalarType::Byte);
    cost = empty_like_device(planes, cells, ScalarType::Int);
    source = empty_like_device(planes, cells, ScalarType::Long);
    cells.push_back(2);
    motion = empty_like_device(planes, cells, ScalarType::Char);
    is_key = empty_like_device(planes, frames, ScalarType::Bool);
    limit = empty_like_device(planes, frames, ScalarType::Int);
    const int64_t lights = light_rows ? shape.tubelet : 0;
    weights = empty_like_device(planes, {shape.streams, shape.frames, lights, shape.planes, 2},
                                ScalarType::Int);
    lit = empty_like_device(planes, {shape.streams, shape.frames, light_rows, shape.w},
                            ScalarType::Bool);
  }

  // Of stream 0, frame 0.
  GateResult result() const {
    return {data<uint8_t>(kind),    data<int8_t>(motion), data<int32_t>(cost),
            data<int64_t>(source),  data<bool>(is_key),   data<int32_t>(limit),
            data<int32_t>(weights), data<bool>(lit)};
  }

  GateTuple tensors() const { return {kind, motion, cost, source, is_key, limit, weights, lit}; }
};

}  // namespace patchgate
