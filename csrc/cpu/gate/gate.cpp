// The motion gate on the CPU: the stages of gate_stream.h over all streams, frame after frame.
#include <algorithm>
#include <memory>
#include <tuple>

#include "cpu/gate/gate_stream.h"
#include "gate_tensors.h"

namespace patchgate {
namespace {

// What repays waking a thread: 30 us of work or more. Less would gain little on an idle machine and
// lose much on a busy one, where every parallel region waits for its last thread to be scheduled.
constexpr int64_t kZeroTestGrain = 1 << 19;  // bytes compared
constexpr int64_t kSearchGrain = 32;         // cells searched
constexpr int64_t kFollowGrain = 128;        // cells tried with the camera's motion

using Streams = std::vector<GateStream>;

void zero_test(Streams& streams, const GateShape& shape) {
  const int64_t rows = shape.streams * shape.h, row_bytes = 2 * shape.picture() / shape.h;
  const int64_t grain = std::max<int64_t>(1, kZeroTestGrain / row_bytes);
  torch::stable::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) streams[i / shape.h].zero_test_row(i % shape.h);
  });
}

// Follows the light of the frame, where it has changed.
void relight(Streams& streams, const GateShape& shape) {
  std::vector<std::pair<int64_t, int64_t>> rows;  // stream, row of cells
  for (int64_t s = 0; s < shape.streams; ++s) {
    streams[s].find_light();
    for (int64_t row = 0; streams[s].is_relit() && row < shape.h; ++row) rows.emplace_back(s, row);
  }
  const int64_t grain = std::max<int64_t>(1, kZeroTestGrain * shape.h / (4 * shape.picture()));
  torch::stable::parallel_for(0, rows.size(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) streams[rows[i].first].relight_row(rows[i].second);
  });
}

// Calls work(stream, cell) for every failed cell of every stream, in parallel.
template <class MakeScratch, class Work>
void each_failed(Streams& streams, int64_t grain, MakeScratch&& make_scratch, Work&& work) {
  std::vector<std::pair<int64_t, int64_t>> failed;  // stream, cell
  for (size_t s = 0; s < streams.size(); ++s)
    for (int64_t n : streams[s].failed()) failed.emplace_back(s, n);
  const auto count = static_cast<int64_t>(failed.size());
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    auto&& scratch = make_scratch();
    for (int64_t i = begin; i < end; ++i) work(failed[i].first, failed[i].second, scratch);
  });
}

// One window a thread: on a still camera, making one would cost more than the search itself.
SearchWindow& window_for(int64_t cell, int64_t radius) {
  thread_local int64_t made_cell = 0, made_radius = 0;
  thread_local std::unique_ptr<SearchWindow> window;
  if (!window || made_cell != cell || made_radius != radius) {
    window = std::make_unique<SearchWindow>(static_cast<int>(cell), static_cast<int>(radius));
    made_cell = cell, made_radius = radius;
  }
  return *window;
}

void search(Streams& streams, const GateShape& shape, const GateRules& rules) {
  if (rules.radius == 0) return;
  each_failed(
      streams, kSearchGrain,
      [&]() -> SearchWindow& { return window_for(shape.cell, rules.radius); },
      [&](int64_t s, int64_t n, SearchWindow& window) { streams[s].search_cell(n, window); });
}

void follow_camera(Streams& streams, const std::vector<bool>& is_cut) {
  std::vector<Vector> dominant(streams.size());
  for (size_t s = 0; s < streams.size(); ++s)
    if (!is_cut[s]) dominant[s] = streams[s].dominant_motion();
  each_failed(
      streams, kFollowGrain, [] { return 0; },
      [&](int64_t s, int64_t n, int) {
        if (!is_cut[s]) streams[s].follow_cell(n, dominant[s]);
      });
}

void step(Streams& streams, const GateShape& shape, const GateRules& rules) {
  search(streams, shape, rules);
  std::vector<bool> is_cut;
  for (GateStream& stream : streams) is_cut.push_back(stream.decide_cut());
  if (rules.on_motion == kCamera && rules.radius > 0) follow_camera(streams, is_cut);
  for (size_t s = 0; s < streams.size(); ++s) {
    if (is_cut[s]) continue;
    if (rules.on_motion == kReuse) streams[s].reuse_motion();
    streams[s].tighten_beside_changed();
    streams[s].expire();
    streams[s].expire_light();
  }
}

Streams make_streams(const GateShape& shape, const GateRules& rules, const GateState& all) {
  Streams streams;
  const int64_t lights = shape.planes_per_cell() * kLightParts * shape.cells();
  for (int64_t s = 0; s < shape.streams; ++s)
    streams.emplace_back(
        shape, rules,
        GateState{all.picture + s * shape.picture(), all.ids + s * shape.plane(),
                  all.source + s * shape.cells(), all.clock + 2 * s, all.births + s * rules.max_age,
                  all.quartiles + s * kQuartiles, all.light ? all.light + s * lights : nullptr});
  return streams;
}

}  // namespace

GateTuple gate(const Tensor& planes_, const Tensor& picture, const Tensor& ids,
               const Tensor& source, const Tensor& clock, const Tensor& births,
               const Tensor& quartiles, const Tensor& light,
               const std::optional<Tensor>& threshold_map, int64_t cell, int64_t sub_block,
               int64_t limit, int64_t texture, int64_t search_radius, int64_t on_motion,
               int64_t cut, double hysteresis, bool adaptive, int64_t motion_precision) {
  const Tensor planes = dense(planes_);
  const GateShape shape = gate_shape(planes, source, cell, sub_block);
  const GateState state = gate_state(shape, picture, ids, source, clock, births, quartiles, light);
  std::optional<Tensor> map;
  if (threshold_map) map = dense(*threshold_map);
  const GateRules rules = gate_rules(shape, map, limit, texture, search_radius, on_motion, cut,
                                     hysteresis, adaptive, motion_precision, births.size(1));
  refuse(fault_of_clock(shape, state.clock));
  const GateOutputs outputs(planes, shape, light.size(4));
  if (outputs.kind.numel() == 0) return outputs.tensors();
  Streams streams = make_streams(shape, rules, state);
  const GateResult all = outputs.result();

  for (int64_t t = 0; t < shape.frames; ++t) {
    const auto frame = [&](int64_t s) { return s * shape.frames + t; };
    for (int64_t s = 0; s < shape.streams; ++s)
      streams[s].begin(const_data<uint8_t>(planes) + frame(s) * shape.picture());
    zero_test(streams, shape);
    relight(streams, shape);
    for (int64_t s = 0; s < shape.streams; ++s) streams[s].decide_static(all.limit + frame(s));
    step(streams, shape, rules);
    for (int64_t s = 0; s < shape.streams; ++s) {
      const int64_t at = frame(s) * shape.cells();
      const GateResult result{all.kind + at,
                              all.motion + 2 * at,
                              all.cost + at,
                              all.source + at,
                              all.is_key + frame(s),
                              all.limit + frame(s),
                              all.weights + frame(s) * 2 * shape.planes_per_cell(),
                              all.lit + at};
      streams[s].finish(result);
      streams[s].write_light(result);
      streams[s].write_picture();
    }
  }
  return outputs.tensors();
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) { m.impl("gate", TORCH_BOX(&patchgate::gate)); }
