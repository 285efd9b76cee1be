// The arguments of the gate's kernels, and how its work is divided among them. Knows no torch.
//
// One launch takes a whole push. If cells do not depend on each other (no search, no
// scene cut, no hysteresis, no adaptive limit), each block takes its cells through all frames
// (gate_apart.h). Otherwise all blocks go from frame to frame together, with barriers across the
// grid between the stages (gate_frames.h): a frame in which no cell is new costs one.
#pragma once

#include <algorithm>

#include "cuda/device.h"
#include "gate_call.h"
#include "gate_light.h"

namespace patchgate {

inline constexpr int kGateThreads = 256;
inline constexpr int kGateWarps = kGateThreads / kWarp;
inline constexpr int kGateBlocks = 2;  // of a multiprocessor: more make the barriers dearer
inline constexpr int kMostTileBytes = 92 << 10;  // of a block's windows; larger ones stay outside
inline constexpr int kFilterMargin = 6;  // rows around those that a vector's fractions are tried on
inline constexpr int kFilterRows = 8;    // that a warp has room for, at least

// What lives only during one call. What stands before `tokens` starts as zeros.
struct GateScratch {
  int32_t* failed;           // [T] cells that failed the zero test: the worklist's length
  int32_t* active;           // [T] 1: some cell of some stream may be new
  int32_t* stirred;          // [T, S] 1: the stream has cells on the worklist
  int32_t* lost;             // [T, S] failed cells whose minimum does not pass
  int32_t* still;            // [T, S] static cells with texture
  unsigned long long* mode;  // [T, S] of the minima: votes, and in the lower half ~tie_rank
  int32_t* relit;            // [T] 1: the light of some stream has changed
  int32_t* relit_stream;     // [T, S] 1: that of this one has
  int32_t* votes;            // [S, vote_side, vote_side] passing minima
  int32_t* counts;           // [S, chunks] (or [T, S] where cells are apart): changed cells
  int64_t* tokens;           // [T + 1, S] emitted before the frame
  int32_t* worklist;         // [S * N] which cells failed, in any order
  int32_t* least;            // [S, N] the least cost tested
  int32_t* minimum_cost;     // [S, N]
  int32_t* objective;        // [S, N] of the minimum, where vectors count in fractions of a pixel
  uint32_t* minimum;         // [S, N] the search's vector, as tie_rank
  uint8_t* decided;          // [S, N] kinds before hysteresis and max_age
  uint8_t* moved;            // [S, f, C, H, W] displaced blocks, until all are read, or as tried
  int32_t* moved_ids;        // [S, H, W]
  int32_t* light_errors;     // [S, kLightGlance + light_slots] of sampled cells; -1: left out
  int32_t* moved_light;      // [S, f, C, 4, N] of displaced blocks, until all are read
};

// Of a row of a block and the samples that six taps take in beside it, to whole words.
PG_HOST_DEVICE int filter_words(int cell) { return (cell + 3) / 4 + 2; }

struct GatePlan {
  const uint8_t* frames;  // [S, T, f, C, H, W]
  GateState state;        // of stream 0
  GateResult result;      // of stream 0, frame 0
  GateScratch scratch;
  GateRules rules;
  int64_t plane_bytes, picture_bytes;                   // H * W, f * C * H * W
  int streams, times, tubelet, colours, height, width;  // S, T, f, C, H, W
  int cell, sub_block, h, w, cells, cell_planes;        // cells: N; cell_planes: f * C
  int radius, side, reach;    // side: 2 R + 1; reach: of the window, p + 2 R
  int precision, vote_side;   // vectors count in 1 / precision pixels; vote_side: 2 R precision + 1
  int segment, segments;      // cells that a block tests at once, and how often that is a row
  int chunks;                 // of kGateThreads cells
  int now_words, tile_words;  // of a row of cell and window in shared memory; 0: they stay outside
  int warp_words;             // of shared memory that a warp has for itself
  int light_stride, light_slots;  // one cell in so many is sampled: so many of a stream

  PG_HOST_DEVICE bool apart() const {
    return radius == 0 && rules.cut < 0 && rules.hysteresis < 0 && !rules.adaptive &&
           !follows_light();
  }
  PG_HOST_DEVICE bool follows_light() const { return state.light != nullptr; }
  PG_HOST_DEVICE int64_t frame_of(int s, int t) const { return int64_t{s} * times + t; }
  PG_HOST_DEVICE int64_t step(int64_t t, int s) const { return t * streams + s; }  // in [T, S]
  PG_HOST_DEVICE int64_t at(int s, int t) const { return frame_of(s, t) * cells; }
  PG_HOST_DEVICE const uint8_t* frame(int s, int t) const {
    return frames + frame_of(s, t) * picture_bytes;
  }
  PG_HOST_DEVICE uint8_t* picture(int s) const { return state.picture + s * picture_bytes; }
  PG_HOST_DEVICE int32_t* ids(int s) const { return state.ids + s * plane_bytes; }
  PG_HOST_DEVICE bool is_first(int s, int t) const { return state.clock[2 * s] + t == 0; }
  PG_HOST_DEVICE int top(int n) const { return n / w * cell; }
  PG_HOST_DEVICE int left(int n) const { return n % w * cell; }
  PG_HOST_DEVICE int64_t offset(int n, Vector v = {0, 0}) const {
    return int64_t{top(n) + v.dy} * width + left(n) + v.dx;
  }
  PG_HOST_DEVICE int32_t cell_limit(int s, int t, int n) const {
    const int32_t limit = result.limit[frame_of(s, t)];
    return rules.threshold_map ? scaled_limit(limit, rules.threshold_map[n]) : limit;
  }
  PG_HOST_DEVICE int32_t plain_limit(int n) const {
    return rules.threshold_map ? scaled_limit(rules.limit, rules.threshold_map[n]) : rules.limit;
  }
  // [N]; a part is one of the four of a plane.
  PG_HOST_DEVICE int32_t* light(int s, int part) const {
    return state.light + (int64_t{s} * cell_planes * kLightParts + part) * cells;
  }
  PG_HOST_DEVICE int32_t* moved_light(int s, int part) const {
    return scratch.moved_light + (int64_t{s} * cell_planes * kLightParts + part) * cells;
  }
  PG_HOST_DEVICE int32_t* weights(int s, int t) const {
    return result.weights + frame_of(s, t) * 2 * cell_planes;
  }
  PG_HOST_DEVICE Vector whole(int s, int t, Vector v) const {
    return whole_vector(v, precision, state.clock[2 * s] + t);
  }
  // Of the token ids that v brings to a cell in frame t: by whole pixels.
  PG_HOST_DEVICE int64_t ids_offset(int s, int t, int n, Vector v) const {
    return offset(n, whole_vector(v, precision, state.clock[2 * s] + t));
  }
  // Where a cell's displaced block is put by.
  PG_HOST_DEVICE uint8_t* displaced(int s, int n) const {
    return scratch.moved + s * picture_bytes + offset(n);
  }
  PG_HOST_DEVICE int32_t* displaced_ids(int s, int n) const {
    return scratch.moved_ids + s * plane_bytes + offset(n);
  }
  PG_HOST_DEVICE bool is_candidate(int n, Vector v) const {
    return patchgate::is_candidate(v, radius, top(n), left(n), cell, height, width, precision);
  }
  PG_HOST_DEVICE int32_t& votes(int s, Vector v) const {
    const int64_t row = int64_t{s} * vote_side + v.dy + radius * precision;
    return scratch.votes[row * vote_side + v.dx + radius * precision];
  }
  // Words of shared memory that a warp's search takes.
  PG_HOST_DEVICE int tile_size() const { return tubelet * (cell * now_words + reach * tile_words); }
};

// Arrays one after the other in one piece of memory. Without any it only counts.
class Carver {
 public:
  explicit Carver(void* memory) : memory_(static_cast<uint8_t*>(memory)) {}

  template <class T>
  void take(T*& array, int64_t elements) {
    array = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (elements * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
  }
  int64_t used() const { return used_; }

 private:
  uint8_t* memory_;
  int64_t used_ = 0;
};

inline int64_t carve(GatePlan& plan, void* memory) {
  const int64_t frames = int64_t{plan.times} * plan.streams;
  const int64_t cells = int64_t{plan.cells} * plan.streams;
  const bool searches = plan.radius > 0, moves = searches && plan.rules.on_motion != kEncode;
  const bool between = searches && plan.precision > 1;
  Carver carver(memory);
  GateScratch& scratch = plan.scratch;
  carver.take(scratch.failed, plan.times);
  carver.take(scratch.active, plan.times);
  carver.take(scratch.stirred, frames);
  carver.take(scratch.lost, frames);
  carver.take(scratch.still, frames);
  carver.take(scratch.mode, frames);
  carver.take(scratch.relit, plan.times);
  carver.take(scratch.relit_stream, frames);
  carver.take(scratch.votes, int64_t{plan.streams} * plan.vote_side * plan.vote_side);
  carver.take(scratch.counts, plan.apart() ? frames : int64_t{plan.streams} * plan.chunks);
  carver.take(scratch.tokens, frames + plan.streams);
  carver.take(scratch.worklist, cells);
  carver.take(scratch.least, searches ? cells : 0);
  carver.take(scratch.minimum_cost, searches ? cells : 0);
  carver.take(scratch.objective, between ? cells : 0);
  carver.take(scratch.minimum, searches ? cells : 0);
  carver.take(scratch.decided, cells);
  carver.take(scratch.moved, moves || between ? plan.streams * plan.picture_bytes : 0);
  carver.take(scratch.moved_ids, moves ? plan.streams * plan.plane_bytes : 0);
  const bool follows = plan.follows_light();
  const int64_t parts = int64_t{plan.cell_planes} * kLightParts;
  const int64_t slots = kLightGlance + int64_t{plan.light_slots};
  carver.take(scratch.light_errors, follows ? plan.streams * slots : 0);
  carver.take(scratch.moved_light, follows && moves ? cells * parts : 0);
  return carver.used();
}

// Everything but where the tensors lie.
inline GatePlan plan_gate(const GateShape& shape, const GateRules& rules) {
  GatePlan plan{};
  plan.rules = rules;
  plan.plane_bytes = shape.plane(), plan.picture_bytes = shape.picture();
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  plan.streams = narrow(shape.streams), plan.times = narrow(shape.frames);
  plan.tubelet = narrow(shape.tubelet), plan.colours = narrow(shape.planes);
  plan.height = narrow(shape.height), plan.width = narrow(shape.width);
  plan.cell = narrow(shape.cell), plan.sub_block = narrow(shape.sub_block);
  plan.h = narrow(shape.h), plan.w = narrow(shape.w), plan.cells = narrow(shape.cells());
  plan.cell_planes = plan.tubelet * plan.colours;
  plan.radius = narrow(rules.radius), plan.side = 2 * plan.radius + 1;
  plan.reach = plan.cell + 2 * plan.radius;
  plan.precision = narrow(rules.precision), plan.vote_side = 2 * plan.radius * plan.precision + 1;
  // As many cells as give every thread one sub-block, in equal parts of a row.
  const int parts = plan.cell / plan.sub_block;
  const int most = std::clamp(kGateThreads / (plan.cell_planes * parts * parts), 1, plan.w);
  plan.segments = (plan.w + most - 1) / most;
  plan.segment = (plan.w + plan.segments - 1) / plan.segments;
  plan.chunks = (plan.cells + kGateThreads - 1) / kGateThreads;
  plan.light_stride = narrow((plan.cells + kLightCells - 1) / kLightCells);
  plan.light_slots = (plan.cells + plan.light_stride - 1) / plan.light_stride;
  plan.now_words = (plan.cell + 3) / 4;
  plan.tile_words = ((plan.reach + 3) / 4 + 1) | 1;  // odd: rows start in different banks
  if (plan.radius == 0 || plan.tile_size() * 4 * kGateWarps > kMostTileBytes)
    plan.now_words = plan.tile_words = 0;
  plan.warp_words = plan.tile_size();
  if (plan.radius > 0 && plan.precision > 1)
    plan.warp_words =
        std::max(plan.warp_words, (2 * kFilterRows + kFilterMargin) * filter_words(plan.cell));
  return plan;
}

}  // namespace patchgate
