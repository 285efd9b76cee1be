// The gate's kernels. All are cooperative launches: gate_plan.h says why.
#pragma once

#include "cuda/gate/gate_apart.h"
#include "cuda/gate/gate_frames.h"

namespace patchgate {

template <int kCell, int kSubBlock>
__global__ void __launch_bounds__(kGateThreads, kGateBlocks)
    gate_frames_kernel(const __grid_constant__ GatePlan plan) {
  PG_SHARED(memory);
  gate_frames<kCell, kSubBlock>(plan, *reinterpret_cast<GateShared*>(memory),
                                memory + sizeof(GateShared));
}

// The same, and the reference follows the light.
template <int kCell, int kSubBlock>
__global__ void __launch_bounds__(kGateThreads, kGateBlocks)
    gate_light_kernel(const __grid_constant__ GatePlan plan) {
  PG_SHARED(memory);
  gate_frames<kCell, kSubBlock, true>(plan, *reinterpret_cast<GateShared*>(memory),
                                      memory + sizeof(GateShared));
}

template <int kCell, int kSubBlock>
__global__ void __launch_bounds__(kGateThreads, kGateBlocks)
    gate_apart_kernel(const __grid_constant__ GatePlan plan) {
  PG_SHARED(memory);
  gate_apart<kCell, kSubBlock>(plan, *reinterpret_cast<GateShared*>(memory));
}

inline int gate_shared_bytes(const GatePlan& plan) {
  const int tiles = plan.apart() ? 0 : kGateWarps * plan.warp_words * 4;
  return static_cast<int>(sizeof(GateShared)) + tiles;
}

// Blocks that have work to do at once: a warp a cell.
inline int64_t gate_blocks(const GatePlan& plan) {
  const int64_t segments = int64_t{plan.streams} * plan.h * plan.segments;
  const int64_t cells = (int64_t{plan.streams} * plan.cells + kGateWarps - 1) / kGateWarps;
  return plan.apart() ? segments : std::max(segments, cells);
}

// Calls launch(kernel) with the kernel for these sides. The usual ones are compiled in.
template <class Launch>
void with_gate_kernel(const GatePlan& plan, Launch&& launch) {
  const auto sides = [&](int cell, int sub_block) {
    return plan.cell == cell && plan.sub_block == sub_block;
  };
  if (plan.follows_light()) return launch(gate_light_kernel<0, 0>);
  if (plan.apart()) {
    const int parts = plan.cell / plan.sub_block;
    const bool fits = plan.cell_planes * parts * parts <= kGateThreads;  // in one block's threads
    if (fits && plan.sub_block == 7) return launch(gate_apart_kernel<0, 7>);
    if (fits && plan.sub_block == 8) return launch(gate_apart_kernel<0, 8>);
    return launch(gate_apart_kernel<0, 0>);
  }
  if (sides(14, 7)) return launch(gate_frames_kernel<14, 7>);
  if (sides(16, 8)) return launch(gate_frames_kernel<16, 8>);
  if (sides(28, 7)) return launch(gate_frames_kernel<28, 7>);
  if (sides(32, 8)) return launch(gate_frames_kernel<32, 8>);
  return launch(gate_frames_kernel<0, 0>);
}

}  // namespace patchgate
