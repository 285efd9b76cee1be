// The motion gate on CUDA: one cooperative launch a push, on the current stream; nothing waits for
// the device, so that it can be captured in a graph.
#include "cuda/common.h"
#include "cuda/gate/gate_kernels.h"
#include "gate_tensors.h"

namespace patchgate {
namespace {

void check_devices(const Tensor& planes, const std::optional<Tensor>& map,
                   std::initializer_list<std::pair<const Tensor*, const char*>> state) {
  check_cuda(planes, planes, "gate: planes");
  for (const auto& [tensor, name] : state) check_cuda(*tensor, planes, name);
  if (map) check_cuda(*map, planes, "gate: threshold_map");
}

}  // namespace

GateTuple gate_cuda(const Tensor& planes_, const Tensor& picture, const Tensor& ids,
                    const Tensor& source, const Tensor& clock, const Tensor& births,
                    const Tensor& quartiles, const Tensor& light,
                    const std::optional<Tensor>& threshold_map, int64_t cell, int64_t sub_block,
                    int64_t limit, int64_t texture, int64_t search_radius, int64_t on_motion,
                    int64_t cut, double hysteresis, bool adaptive, int64_t motion_precision) {
  check_devices(planes_, threshold_map,
                {{&picture, "gate: picture"},
                 {&ids, "gate: ids"},
                 {&source, "gate: source"},
                 {&clock, "gate: clock"},
                 {&births, "gate: births"},
                 {&quartiles, "gate: quartiles"},
                 {&light, "gate: light"}});
  const torch::stable::accelerator::DeviceGuard guard(planes_.get_device());
  const Tensor planes = dense(planes_);
  const GateShape shape = gate_shape(planes, source, cell, sub_block);
  const GateState state = gate_state(shape, picture, ids, source, clock, births, quartiles, light);
  std::optional<Tensor> map;
  if (threshold_map) map = dense(*threshold_map);
  const GateRules rules = gate_rules(shape, map, limit, texture, search_radius, on_motion, cut,
                                     hysteresis, adaptive, motion_precision, births.size(1));
  const GateOutputs outputs(planes, shape, light.size(4));
  if (outputs.kind.numel() == 0) return outputs.tensors();

  GatePlan plan = plan_gate(shape, rules);
  plan.frames = const_data<uint8_t>(planes);
  plan.state = state;
  plan.result = outputs.result();
  const Tensor scratch = empty_like_device(planes, {carve(plan, nullptr)}, ScalarType::Byte);
  carve(plan, data<uint8_t>(scratch));
  with_gate_kernel(plan, [&](auto kernel) {
    launch_together(kernel, plan, gate_blocks(plan), kGateThreads, gate_shared_bytes(plan),
                    kGateBlocks, planes, "gate");
  });
  return outputs.tensors();
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CUDA, m) { m.impl("gate", TORCH_BOX(&patchgate::gate_cuda)); }
