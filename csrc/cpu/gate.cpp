// The motion gate on the CPU: the stages of gate_stream.h over all streams, frame after frame.
#include <algorithm>
#include <memory>
#include <tuple>

#include "cpu/gate_stream.h"
#include "torch.h"

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
  }
}

GateShape shape_of(const Tensor& planes, const Tensor& source, int64_t cell, int64_t sub_block) {
  GateShape shape{planes.size(0), planes.size(1), planes.size(2), planes.size(3), planes.size(4),
                  planes.size(5), cell,           sub_block,      source.size(1), source.size(2)};
  STD_TORCH_CHECK(cell > 0 && cell <= 256 && sub_block > 0 && cell % sub_block == 0, "gate: cell ",
                  cell, " must be 1..256 pixels and a multiple of sub_block ", sub_block);
  STD_TORCH_CHECK(shape.h * cell == shape.height && shape.w * cell == shape.width,
                  "gate: ", shape.height, " x ", shape.width, " pixels are not ", shape.h, " x ",
                  shape.w, " cells of ", cell, " pixels");
  return shape;
}

void check_state(const GateShape& shape, const Tensor& picture, const Tensor& ids,
                 const Tensor& source, const Tensor& clock, const Tensor& births,
                 const Tensor& quartiles) {
  check_dense(picture, ScalarType::Byte, 5, "gate: picture");
  check_dense(ids, ScalarType::Int, 3, "gate: ids");
  check_dense(source, ScalarType::Long, 3, "gate: source");
  check_dense(clock, ScalarType::Long, 2, "gate: clock");
  check_dense(births, ScalarType::Long, 2, "gate: births");
  check_dense(quartiles, ScalarType::Int, 2, "gate: quartiles");
  STD_TORCH_CHECK(picture.numel() == shape.streams * shape.picture() &&
                      ids.numel() == shape.streams * shape.plane() &&
                      source.size(0) == shape.streams && clock.numel() == 2 * shape.streams &&
                      births.size(0) == shape.streams &&
                      quartiles.numel() == kQuartiles * shape.streams,
                  "gate: the state does not belong to planes of this shape");
}

// Token ids are stored per pixel in 32 bits: refuse before anything is written.
void check_ids(const GateShape& shape, const int64_t* clock) {
  for (int64_t s = 0; s < shape.streams; ++s)
    STD_TORCH_CHECK(clock[2 * s + 1] + shape.frames * shape.cells() < INT32_MAX, "gate: stream ", s,
                    " has emitted ", clock[2 * s + 1],
                    " tokens, and this push could exceed 2^31: reset the stream first");
}

Streams make_streams(const GateShape& shape, const GateRules& rules, const GateState& all) {
  Streams streams;
  for (int64_t s = 0; s < shape.streams; ++s)
    streams.emplace_back(shape, rules,
                         GateState{all.picture + s * shape.picture(), all.ids + s * shape.plane(),
                                   all.source + s * shape.cells(), all.clock + 2 * s,
                                   all.births + s * rules.max_age, all.quartiles + s * kQuartiles});
  return streams;
}

}  // namespace

using Results = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Results gate(const Tensor& planes_, const Tensor& picture, const Tensor& ids, const Tensor& source,
             const Tensor& clock, const Tensor& births, const Tensor& quartiles,
             const std::optional<Tensor>& threshold_map_, int64_t cell, int64_t sub_block,
             int64_t limit, int64_t texture, int64_t search_radius, int64_t on_motion, int64_t cut,
             double hysteresis, bool adaptive) {
  const Tensor planes = torch::stable::contiguous(planes_);
  check_dense(planes, ScalarType::Byte, 6, "gate: planes");
  STD_TORCH_CHECK(source.dim() == 3, "gate: source: expected 3 dimensions");
  const GateShape shape = shape_of(planes, source, cell, sub_block);
  check_state(shape, picture, ids, source, clock, births, quartiles);
  STD_TORCH_CHECK(search_radius >= 0 && search_radius <= 127, "gate: search_radius ", search_radius,
                  " must be 0..127");
  std::optional<Tensor> map;
  if (threshold_map_) {
    map = torch::stable::contiguous(*threshold_map_);
    check_dense(*map, ScalarType::Double, 2, "gate: threshold_map");
    STD_TORCH_CHECK(map->numel() == shape.cells(), "gate: threshold_map has ", map->numel(),
                    " cells, the grid ", shape.cells());
  }
  const GateRules rules{static_cast<int32_t>(limit),
                        static_cast<int32_t>(texture),
                        search_radius,
                        on_motion,
                        cut,
                        hysteresis,
                        adaptive,
                        births.size(1),
                        map ? const_data<double>(*map) : nullptr};
  check_ids(shape, data<int64_t>(clock));
  Streams streams =
      make_streams(shape, rules,
                   {data<uint8_t>(picture), data<int32_t>(ids), data<int64_t>(source),
                    data<int64_t>(clock), data<int64_t>(births), data<int32_t>(quartiles)});

  const std::vector<int64_t> frames{shape.streams, shape.frames};
  const std::vector<int64_t> cells{shape.streams, shape.frames, shape.h, shape.w};
  const Tensor kind = empty_like_device(planes, cells, ScalarType::Byte);
  const Tensor motion =
      empty_like_device(planes, {cells[0], cells[1], cells[2], cells[3], 2}, ScalarType::Char);
  const Tensor cost = empty_like_device(planes, cells, ScalarType::Int);
  const Tensor out_source = empty_like_device(planes, cells, ScalarType::Long);
  const Tensor is_key = empty_like_device(planes, frames, ScalarType::Bool);
  const Tensor out_limit = empty_like_device(planes, frames, ScalarType::Int);

  for (int64_t t = 0; t < shape.frames; ++t) {
    const auto frame = [&](int64_t s) { return s * shape.frames + t; };
    for (int64_t s = 0; s < shape.streams; ++s)
      streams[s].begin(const_data<uint8_t>(planes) + frame(s) * shape.picture());
    zero_test(streams, shape);
    for (int64_t s = 0; s < shape.streams; ++s)
      streams[s].decide_static(data<int32_t>(out_limit) + frame(s));
    step(streams, shape, rules);
    for (int64_t s = 0; s < shape.streams; ++s) {
      const int64_t at = frame(s) * shape.cells();
      streams[s].finish({data<uint8_t>(kind) + at, data<int8_t>(motion) + 2 * at,
                         data<int32_t>(cost) + at, data<int64_t>(out_source) + at,
                         data<bool>(is_key) + frame(s), data<int32_t>(out_limit) + frame(s)});
      streams[s].write_picture();
    }
  }
  return {kind, motion, cost, out_source, is_key, out_limit};
}

}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) { m.impl("gate", TORCH_BOX(&patchgate::gate)); }
