// The gate's CUDA kernels on numpy arrays, with the op's own arguments.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cuda/gate/gate_kernels.h"
#include "gate_checks.h"
#include "tested/emulated/module.h"

namespace patchgate {
namespace {

using Results = std::tuple<Array<uint8_t>, Array<int8_t>, Array<int32_t>, Array<int64_t>,
                           Array<bool>, Array<int32_t>, Array<int32_t>, Array<bool>>;

void refuse(const std::string& fault) {
  if (!fault.empty()) throw py::value_error(fault);
}

template <class T>
Array<T> result(std::vector<py::ssize_t> shape) {
  Array<T> array(shape);
  std::memset(array.mutable_data(), 0xAB, array.nbytes());  // what is not written will show
  return array;
}

Results gate(const Array<uint8_t>& planes,  // [S, T, f, C, H, W]
             Array<uint8_t> picture, Array<int32_t> ids, Array<int64_t> source,
             Array<int64_t> clock, Array<int64_t> births, Array<int32_t> quartiles,
             Array<int32_t> light,  // [S, f, C, 4, h or 0, w]
             const std::optional<Array<double>>& threshold_map, int64_t cell, int64_t sub_block,
             int64_t limit, int64_t texture, int64_t radius, int64_t on_motion, int64_t cut,
             double hysteresis, bool adaptive, int64_t precision, unsigned blocks, uint32_t seed) {
  if (planes.ndim() != 6 || source.ndim() != 3 || births.ndim() != 2 || light.ndim() != 6)
    throw py::value_error("expected planes [S, T, f, C, H, W], source [S, h, w], births [S, age]");
  const GateShape shape{planes.shape(0),
                        planes.shape(1),
                        planes.shape(2),
                        planes.shape(3),
                        planes.shape(4),
                        planes.shape(5),
                        cell,
                        sub_block,
                        source.shape(1),
                        source.shape(2)};
  refuse(fault_of(shape));
  const int64_t light_rows = light.shape(4);
  refuse(fault_of_light(shape, light_rows));
  const std::vector<py::array> state{picture, ids, source, clock, births, quartiles, light};
  const std::vector<NamedShape> shapes = state_shapes(shape, births.shape(1), light_rows);
  for (size_t i = 0; i < state.size(); ++i)
    if (!std::equal(state[i].shape(), state[i].shape() + state[i].ndim(), shapes[i].sizes.begin(),
                    shapes[i].sizes.end()))
      refuse(message(shapes[i].name, ": not of the shape that planes of this shape ask for"));
  if (threshold_map && (threshold_map->ndim() != 2 || threshold_map->shape(0) != shape.h ||
                        threshold_map->shape(1) != shape.w))
    refuse("gate: threshold_map: expected [h, w]");
  refuse(fault_of_rules(limit, texture, radius, on_motion, cut, hysteresis, precision));
  const GateRules rules{static_cast<int32_t>(limit),
                        static_cast<int32_t>(texture),
                        radius,
                        on_motion,
                        cut,
                        hysteresis,
                        adaptive,
                        precision,
                        births.shape(1),
                        threshold_map ? threshold_map->data() : nullptr};
  const std::vector<py::ssize_t> frames{planes.shape(0), planes.shape(1)};
  std::vector<py::ssize_t> cells{frames[0], frames[1], source.shape(1), source.shape(2)};
  Results results{result<uint8_t>(cells),
                  {},
                  result<int32_t>(cells),
                  result<int64_t>(cells),
                  result<bool>(frames),
                  result<int32_t>(frames),
                  {},
                  result<bool>({frames[0], frames[1], light_rows, cells[3]})};
  std::get<6>(results) =
      result<int32_t>({frames[0], frames[1], light_rows ? planes.shape(2) : 0, planes.shape(3), 2});
  cells.push_back(2);
  std::get<1>(results) = result<int8_t>(cells);

  GatePlan plan = plan_gate(shape, rules);
  plan.frames = planes.data();
  plan.state = {picture.mutable_data(),
                ids.mutable_data(),
                source.mutable_data(),
                clock.mutable_data(),
                births.mutable_data(),
                quartiles.mutable_data(),
                light_rows ? light.mutable_data() : nullptr};
  plan.result = {std::get<0>(results).mutable_data(), std::get<1>(results).mutable_data(),
                 std::get<2>(results).mutable_data(), std::get<3>(results).mutable_data(),
                 std::get<4>(results).mutable_data(), std::get<5>(results).mutable_data(),
                 std::get<6>(results).mutable_data(), std::get<7>(results).mutable_data()};
  std::vector<uint64_t> scratch((carve(plan, nullptr) + 7) / 8, 0xABABABABABABABAB);
  carve(plan, scratch.data());
  blocks = static_cast<unsigned>(std::min<int64_t>(blocks, gate_blocks(plan)));
  with_gate_kernel(plan, [&](auto kernel) {
    emulate::run({{blocks}, {kGateThreads}, static_cast<size_t>(gate_shared_bytes(plan)), 0, seed},
                 [&] { kernel(plan); });
  });
  return results;
}

}  // namespace

void bind_gate_emulated(py::module_& m) {
  // noconvert: a state that was copied would not be seen to change.
  m.def("gate", &gate, py::arg("planes").noconvert(), py::arg("picture").noconvert(),
        py::arg("ids").noconvert(), py::arg("source").noconvert(), py::arg("clock").noconvert(),
        py::arg("births").noconvert(), py::arg("quartiles").noconvert(),
        py::arg("light").noconvert(), py::arg("threshold_map"), py::arg("cell"),
        py::arg("sub_block"), py::arg("limit"), py::arg("texture"), py::arg("search_radius"),
        py::arg("on_motion"), py::arg("cut"), py::arg("hysteresis"), py::arg("adaptive"),
        py::arg("motion_precision"), py::arg("blocks"), py::arg("seed"));
}

}  // namespace patchgate
