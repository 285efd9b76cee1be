// gate.h on numpy arrays: the definition that CUDA runs, and beside it the CPU's vectorised paths.
#include "gate.h"

#include <pybind11/stl.h>

#include <map>
#include <string>
#include <tuple>

#include "cpu/gate/plurality.h"
#include "cpu/gate/sad.h"
#include "cpu/gate/search_window.h"
#include "tested/host/host.h"

namespace patchgate {
namespace {

using Planes = Array<uint8_t>;  // [f, H, W]

const std::map<std::string, SadPath> kPaths{{"fastest", SadPath::kFastest},
                                            {"baseline", SadPath::kBaseline},
                                            {"portable", SadPath::kPortable}};

SadPath path_named(const std::string& name) {
  const auto found = kPaths.find(name);
  if (found == kPaths.end()) throw py::value_error("no path of this name: " + name);
  return found->second;
}

void check_block(const Planes& planes, int y, int x, int cell) {
  if (planes.ndim() != 3 || y < 0 || x < 0 || y + cell > planes.shape(1) ||
      x + cell > planes.shape(2))
    throw py::value_error("expected [f, H, W] and a block inside of it");
}

// Every candidate by gate.h alone, one after the other.
Match defined_search(const Planes& now, const Planes& then, int y, int x, int cell, int radius) {
  const int height = static_cast<int>(now.shape(1)), width = static_cast<int>(now.shape(2));
  Match best{kUntested, {0, 0}};
  for (int dy = -radius; dy <= radius; ++dy)
    for (int dx = -radius; dx <= radius; ++dx) {
      const Vector v{dy, dx};
      if (!is_candidate(v, radius, y, x, cell, height, width)) continue;
      Match match{vector_price(cell, v), v};
      for (py::ssize_t f = 0; f < now.shape(0); ++f)
        match.objective +=
            block_sad(now.data(f, y, x), then.data(f, y + dy, x + dx), width, width, cell);
      if (better(match, best)) best = match;
    }
  return best;
}

// (objective, dy, dx) of the cell at (y, x); an objective of 2^31 - 1: no candidate.
std::tuple<int32_t, int, int> search(const Planes& now, const Planes& then, int y, int x, int cell,
                                     int radius, const std::string& path) {
  check_block(now, y, x, cell);
  check_block(then, y, x, cell);
  Match match;
  if (path == "defined") {
    match = defined_search(now, then, y, x, cell, radius);
  } else {
    SearchWindow window(cell, radius);
    window.load(now.data(), then.data(), static_cast<int>(now.shape(0)),
                now.shape(1) * now.shape(2), y, x, static_cast<int>(now.shape(1)),
                static_cast<int>(now.shape(2)));
    match = window.best(path_named(path));
  }
  return {match.objective, match.vector.dy, match.vector.dx};
}

// (largest sub-block SAD, SAD) of the cell at (y, x) under the vector (dy, dx); planes [1, H, W].
std::tuple<int32_t, int32_t> difference(const Planes& now, const Planes& then, int y, int x, int dy,
                                        int dx, int cell, int sub_block, const std::string& path) {
  check_block(now, y, x, cell);
  check_block(then, y + dy, x + dx, cell);
  const uint8_t *a = now.data(0, y, x), *b = then.data(0, y + dy, x + dx);
  const int64_t stride = now.shape(2);
  if (path == "defined")
    return {plane_cost(a, b, stride, stride, cell, sub_block),
            block_sad(a, b, stride, stride, cell)};
  const Difference found = cell_difference(a, b, stride, stride, cell, sub_block, path_named(path));
  return {found.largest, found.sum};
}

int32_t texture(const Planes& planes, int y, int x, int cell) {
  check_block(planes, y, x, cell);
  return cell_texture(planes.data(0, y, x), planes.shape(2), cell);
}

int32_t vote(const Array<int32_t>& ids) {  // [p, p]
  if (ids.ndim() != 2 || ids.shape(0) != ids.shape(1) || ids.shape(0) == 0)
    throw py::value_error("expected [p, p]");
  return plurality(ids.data(), ids.shape(1), static_cast<int>(ids.shape(0)));
}

}  // namespace

void bind_gate(py::module_& m) {
  m.def("gate_paths", [] { return std::vector<std::string>{"fastest", "baseline", "portable"}; });
  m.def("gate_search", &search, "now, then, y, x, cell, radius, path -> objective, dy, dx");
  m.def("gate_difference", &difference,
        "now, then, y, x, dy, dx, cell, sub_block, path -> largest sub-block SAD, SAD");
  m.def("gate_texture", &texture, "planes, y, x, cell -> neighbour differences");
  m.def("gate_plurality", &vote, "ids [p, p] -> the most frequent, ties to the smallest");
  m.def("gate_scaled_limit", py::vectorize(scaled_limit), "limit, factor -> limit");
  m.def("gate_adaptive_limit", py::vectorize(adaptive_limit), "median, limit -> limit");
}

}  // namespace patchgate
