// Shared parts of the bindings of shared headers; each op has its own in tested/host/<op>.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace patchgate {

template <typename Element>
using Array = py::array_t<Element, py::array::c_style>;

inline constexpr const char* kLevels[] = {"portable", "avx2", "avx512"};  // in RowLevel's order

void bind_frame_grid(py::module_& m);
void bind_gate(py::module_& m);
void bind_gather(py::module_& m);

}  // namespace patchgate
