// _tested: what only tests load. The arithmetic of the shared headers on numpy arrays, so that
// tests run on any machine exactly the code that CUDA runs, and the CUDA kernels' own sources on
// the CPU. Built where the sources are; no wheel carries it.
#include "tested/emulated/module.h"

PYBIND11_MODULE(_tested, m) {
  m.doc() =
      "For tests: shared arithmetic on numpy arrays, and the CUDA kernels on the CPU: every thread "
      "a fiber, run in an order drawn by chance.";
  patchgate::bind_frame_grid(m);
  patchgate::bind_gate(m);
  patchgate::bind_gather(m);
  patchgate::bind_examples(m);
  patchgate::bind_compact_emulated(m);
  patchgate::bind_frame_grid_emulated(m);
  patchgate::bind_gate_emulated(m);
}
