// What motion makes of a failed cell, once all minima are known. A warp takes one entry of the
// worklist after another.
#pragma once

#include "cuda/gate/gate_search.h"
#include "cuda/gate/gate_vote.h"

namespace patchgate {

// The mode of a stream's votes. (0, 0) wins every tie.
__device__ __forceinline__ Vector dominant_motion(const GatePlan& g, int s, int t) {
  const unsigned long long mode = g.scratch.mode[g.step(t, s)];
  const auto still = static_cast<unsigned long long>(g.scratch.still[g.step(t, s)]);
  return still >= mode >> 32 ? Vector{0, 0} : vector_of_rank(~static_cast<uint32_t>(mode));
}

__device__ __forceinline__ void set_moved(const GatePlan& g, int entry, int t, Vector v,
                                          int32_t cost) {
  const int s = entry / g.cells, n = entry % g.cells;
  const int32_t source =
      warp_plurality(g.ids(s) + g.ids_offset(s, t, n, v), g.width, g.cell, g.displaced_ids(s, n));
  if (lane() > 0) return;
  const int64_t at = g.at(s, t) + n;
  g.scratch.decided[entry] = kMoved;
  g.result.motion[2 * at] = static_cast<int8_t>(v.dy);
  g.result.motion[2 * at + 1] = static_cast<int8_t>(v.dx);
  g.result.cost[at] = cost;
  g.result.source[at] = source;
}

// A vector that was tried on a cell, one a lane.
struct Trial {
  Vector vector{0, 0};
  int32_t cost = kUntested, objective = kUntested;
};

// The vectors within one pixel of the dominant one, which are whole.
template <int kCell, int kSubBlock>
__device__ __forceinline__ Trial whole_trial(const GatePlan& g, GateShared& shared, int s, int t,
                                             int n, Vector dominant) {
  const auto near = [&](int k) { return Vector{dominant.dy + k / 3 - 1, dominant.dx + k % 3 - 1}; };
  const auto block_of = [&](int k) {
    return g.is_candidate(n, near(k)) ? g.picture(s) + g.offset(n, near(k)) : nullptr;
  };
  int32_t *costs = shared.trial_cost[warp()], *sums = shared.trial_sum[warp()];
  try_blocks<kCell, kSubBlock>(g, s, t, n, 9, block_of, costs, sums);
  Trial trial;
  if (lane() >= 9 || !g.is_candidate(n, near(lane()))) return trial;
  trial.vector = near(lane());
  trial.cost = costs[lane()];
  trial.objective = sums[lane()] + vector_price(g.cell, trial.vector);
  return trial;
}

// The cell's own minimum, if it is within a pixel of the dominant vector, and that one, which needs
// no test if it is the minimum. Its block stays put by.
template <int kCell, int kSubBlock>
__device__ __forceinline__ Trial fraction_trial(const GatePlan& g, GateShared& shared,
                                                uint8_t* warps, int entry, int t, Vector dominant) {
  const int s = entry / g.cells, n = entry % g.cells;
  const Vector own = vector_of_rank(g.scratch.minimum[entry]);
  const Vector apart{own.dy - dominant.dy, own.dx - dominant.dx};
  const bool near = apart.dy >= -g.precision && apart.dy <= g.precision &&
                    apart.dx >= -g.precision && apart.dx <= g.precision;
  Trial trial;
  if (lane() == 0 && near) trial = {own, g.scratch.minimum_cost[entry], g.scratch.objective[entry]};
  if (own == dominant || !g.is_candidate(n, dominant)) return trial;
  put_by<kCell>(g, warps, s, n, dominant);
  int32_t *costs = shared.trial_cost[warp()], *sums = shared.trial_sum[warp()];
  try_blocks<kCell, kSubBlock>(g, s, t, n, 1, [&](int) { return g.displaced(s, n); }, costs, sums);
  if (lane() == 1)
    trial = {dominant, costs[0], sums[0] + vector_price(g.cell, dominant, g.precision)};
  return trial;
}

// Of the vectors that the camera's motion suggests, the passing one of least objective.
template <int kCell, int kSubBlock>
__device__ __forceinline__ void follow_camera(const GatePlan& g, GateShared& shared, uint8_t* warps,
                                              int entry, int t) {
  const int s = entry / g.cells, n = entry % g.cells;
  const Vector dominant = dominant_motion(g, s, t);
  const Trial trial = g.precision == 1
                          ? whole_trial<kCell, kSubBlock>(g, shared, s, t, n, dominant)
                          : fraction_trial<kCell, kSubBlock>(g, shared, warps, entry, t, dominant);
  const bool passes = trial.cost <= g.cell_limit(s, t, n);
  const auto objective = static_cast<uint32_t>(passes ? trial.objective : kUntested);
  const Match best = least_match(objective, passes ? tie_rank(trial.vector) : ~0u);
  const auto least =
      static_cast<int32_t>(__reduce_min_sync(kAllLanes, static_cast<uint32_t>(trial.cost)));
  if (lane() == 0 && least < g.scratch.least[entry]) g.scratch.least[entry] = least;
  const unsigned winner = __ballot_sync(kAllLanes, passes && trial.vector == best.vector);
  if (winner == 0) return;
  // The dominant vector, if it was tried, was tried after the cell's own.
  if (g.precision > 1 && !(best.vector == dominant) && g.is_candidate(n, dominant))
    put_by<kCell>(g, warps, s, n, best.vector);
  set_moved(g, entry, t, best.vector,
            __shfl_sync(kAllLanes, trial.cost, __popc((winner & -winner) - 1)));
}

__device__ __forceinline__ bool is_cut(const GatePlan& g, int s, int t) {
  return g.rules.cut >= 0 && g.scratch.lost[g.step(t, s)] > g.rules.cut;
}

template <int kCell, int kSubBlock>
__device__ __forceinline__ void motion_stage(const GatePlan& g, GateShared& shared, uint8_t* warps,
                                             int t) {
  for (int i = first_warp(); i < g.scratch.failed[t]; i += all_warps()) {
    const int entry = g.scratch.worklist[i], s = entry / g.cells, n = entry % g.cells;
    if (is_cut(g, s, t)) continue;
    if (g.rules.on_motion == kCamera) {
      follow_camera<kCell, kSubBlock>(g, shared, warps, entry, t);
    } else if (g.scratch.minimum_cost[entry] <= g.cell_limit(s, t, n)) {
      set_moved(g, entry, t, vector_of_rank(g.scratch.minimum[entry]),
                g.scratch.minimum_cost[entry]);
    }
  }
}

}  // namespace patchgate
