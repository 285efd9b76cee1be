// _emulated: the CUDA kernels' own sources on the CPU, for tests. Built where the sources are; no
// wheel carries it.
#include "emulated/module.h"

PYBIND11_MODULE(_emulated, m) {
  m.doc() =
      "The CUDA kernels on numpy arrays: every thread a fiber, run in an order drawn by chance.";
  patchgate::bind_examples(m);
  patchgate::bind_compact_emulated(m);
  patchgate::bind_gate_emulated(m);
}
