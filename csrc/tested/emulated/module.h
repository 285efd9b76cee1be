// Shared parts of the bindings of emulated kernels: the CUDA sources, run on numpy arrays.
#pragma once

#include "tested/emulated/cuda.h"
#include "tested/host/host.h"

namespace patchgate {

void bind_examples(py::module_& m);
void bind_gate_emulated(py::module_& m);
void bind_compact_emulated(py::module_& m);
void bind_frame_grid_emulated(py::module_& m);

}  // namespace patchgate
