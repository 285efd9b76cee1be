// What a cell is: the gate's tests and rules. docs/gate.md states them in words.
#include "cpu/gate/gate_stream.h"

#include <algorithm>
#include <cstdlib>

#include "cpu/gate/plurality.h"
#include "cpu/gate/sad.h"
#include "cpu/gate/subpixel_search.h"

namespace patchgate {

void GateStream::begin(const uint8_t* frame) {
  frame_ = frame, number_ = state_.clock[0];
  if (rules_.max_age == 0) return;
  if (is_first()) std::fill_n(state_.births, rules_.max_age, 0);
  state_.births[state_.clock[0] % rules_.max_age] = state_.clock[1];
}

void GateStream::zero_test_row(int64_t row) {
  if (is_first()) return;
  int32_t* cost = zero_.data() + row * shape_.w;
  std::fill_n(cost, shape_.w, 0);
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    const int64_t at = p * shape_.plane() + row * shape_.cell * shape_.width;
    row_costs(frame_ + at, state_.picture + at, shape_.width, shape_.w, shape_.cell,
              shape_.sub_block, cost);
  }
}

// The limit of this frame: under the adaptive rule it follows the noise, which the lower quartile
// of the costs shows and motion does not.
int32_t GateStream::frame_limit() {
  if (!rules_.adaptive || is_first()) return rules_.limit;
  const int64_t seen = state_.clock[0];
  std::vector<int32_t> sorted = zero_;
  const auto quartile = sorted.begin() + (shape_.cells() - 1) / 4;
  std::nth_element(sorted.begin(), quartile, sorted.end());
  state_.quartiles[(seen - 1) % kQuartiles] = *quartile;
  const int64_t known = std::min<int64_t>(seen, kQuartiles);
  std::vector<int32_t> recent(state_.quartiles, state_.quartiles + known);
  std::sort(recent.begin(), recent.end());
  return adaptive_limit(recent[(known - 1) / 2], rules_.limit);
}

void GateStream::decide_static(int32_t* limit) {
  *limit = frame_limit();
  failed_.clear();
  for (int64_t n = 0; n < shape_.cells(); ++n) {
    Cell& cell = cells_[n] = Cell{};
    cell.cost = cell.least = is_first() ? -1 : zero_[n];
    if (is_first()) continue;
    cell.limit = rules_.threshold_map ? scaled_limit(*limit, rules_.threshold_map[n]) : *limit;
    if (cell.cost <= cell.limit)
      cell.kind = kStatic;
    else
      failed_.push_back(n);
  }
}

void GateStream::search_cell(int64_t n, SearchWindow& window) {
  window.load(frame_, state_.picture, shape_.tubelet, shape_.planes * shape_.plane(), shape_.top(n),
              shape_.left(n), shape_.height, shape_.width);
  Match match = window.best();  // in pixels
  if (match.objective == kUntested) return;
  if (const int precision = rules_.precision; precision > 1) {
    thread_local SubpixelSearch fractions;
    match.vector = {match.vector.dy * precision, match.vector.dx * precision};
    match = fractions.best(frame_, state_.picture, shape_, n, rules_, match);
  }
  Cell& cell = cells_[n];
  cell.minimum = match;
  cell.minimum_cost = test(n, match.vector).cost;
  cell.least = std::min(cell.least, cell.minimum_cost);
}

// A plane's block that a vector brings from the old picture.
Block GateStream::block_then(int64_t n, Vector v, int64_t plane) const {
  const uint8_t* picture = state_.picture + plane * shape_.plane();
  if (rules_.precision == 1) return {picture + shape_.offset(n, v), shape_.width};
  const int quarters = kQuarters / static_cast<int>(rules_.precision);
  const Vector at{shape_.top(n) * kQuarters + v.dy * quarters,
                  shape_.left(n) * kQuarters + v.dx * quarters};
  return block_between(picture, shape_.height, shape_.width, at, shape_.cell);
}

GateStream::Trial GateStream::test(int64_t n, Vector v) const {
  // Once the cost neither passes nor is the least, the planes left cannot change either.
  const int32_t enough = std::max(cells_[n].limit, cells_[n].least);
  Trial trial{0, vector_price(shape_.cell, v, rules_.precision)};
  for (int64_t p = 0; p < shape_.planes_per_cell() && trial.cost <= enough; ++p) {
    const Block then = block_then(n, v, p);
    const Difference difference =
        cell_difference(frame_ + p * shape_.plane() + shape_.offset(n), then.pixels, shape_.width,
                        then.stride, shape_.cell, shape_.sub_block);
    trial.cost = std::max(trial.cost, difference.largest);
    if (p % shape_.planes == 0) trial.objective += difference.sum;
  }
  return trial;
}

bool GateStream::decide_cut() {
  if (rules_.cut < 0) return false;
  int64_t lost = 0;
  for (int64_t n : failed_) lost += !cells_[n].found();
  if (lost <= rules_.cut) return false;
  for (Cell& cell : cells_) cell.kind = kChanged;
  return true;
}

void GateStream::reuse_motion() {
  for (int64_t n : failed_) {
    Cell& cell = cells_[n];
    if (!cell.found()) continue;
    cell.kind = kMoved, cell.motion = cell.minimum.vector, cell.cost = cell.minimum_cost;
  }
}

Vector GateStream::dominant_motion() const {
  const int64_t reach = rules_.radius * rules_.precision, side = 2 * reach + 1;
  std::vector<int32_t> votes(side * side);
  for (int64_t n : failed_)
    if (const Vector v = cells_[n].minimum.vector; cells_[n].found())
      ++votes[(v.dy + reach) * side + v.dx + reach];
  Vector best{0, 0};
  int32_t most = 0;
  for (int64_t i = 0; i < side * side; ++i) {
    const Vector v{static_cast<int>(i / side - reach), static_cast<int>(i % side - reach)};
    if (votes[i] > most || (votes[i] == most && precedes(v, best))) most = votes[i], best = v;
  }
  // (0, 0) wins ties, so counting may stop there: a static camera hardly looks at textures.
  int32_t still = 0;
  for (int64_t n = 0; n < shape_.cells() && still < most; ++n)
    still += cells_[n].kind == kStatic && is_textured(n);
  return still >= most ? Vector{0, 0} : best;
}

bool GateStream::is_textured(int64_t n) const {
  int32_t sum = 0;
  for (int64_t f = 0; f < shape_.tubelet; ++f)
    sum += cell_texture(frame_ + f * shape_.planes * shape_.plane() + shape_.offset(n),
                        shape_.width, shape_.cell);
  return sum > rules_.texture;
}

bool GateStream::is_legal(int64_t n, Vector v) const {
  return is_candidate(v, static_cast<int>(rules_.radius), shape_.top(n), shape_.left(n),
                      shape_.cell, shape_.height, shape_.width, rules_.precision);
}

// Of the whole vectors within one pixel of the dominant one, the passing one of least objective. Of
// finer ones only itself is tried, and the cell's own minimum if it is within that pixel.
void GateStream::follow_cell(int64_t n, Vector dominant) {
  Cell& cell = cells_[n];
  Match best{kUntested, {0, 0}};
  const auto offer = [&](Vector v, Trial trial) {
    cell.least = std::min(cell.least, trial.cost);
    if (trial.cost > cell.limit || !better({trial.objective, v}, best)) return;
    best = {trial.objective, v};
    cell.kind = kMoved, cell.motion = v, cell.cost = trial.cost;
  };
  const int precision = rules_.precision, aside = precision == 1 ? 1 : 0;
  for (int dy = dominant.dy - aside; dy <= dominant.dy + aside; ++dy)
    for (int dx = dominant.dx - aside; dx <= dominant.dx + aside; ++dx)
      if (is_legal(n, {dy, dx})) offer({dy, dx}, test(n, {dy, dx}));
  const Vector own = cell.minimum.vector;
  if (precision > 1 && std::abs(own.dy - dominant.dy) <= precision &&
      std::abs(own.dx - dominant.dx) <= precision)
    offer(own, {cell.minimum_cost, cell.minimum.objective});
}

// Hysteresis, once: a kept cell beside a changed one is held to a tighter limit.
void GateStream::tighten_beside_changed() {
  if (rules_.hysteresis < 0) return;
  std::vector<int64_t> tightened;
  for (int64_t n = 0; n < shape_.cells(); ++n)
    if (cells_[n].kind != kChanged && beside_changed(n) &&
        cells_[n].cost > scaled_limit(cells_[n].limit, rules_.hysteresis))
      tightened.push_back(n);
  for (int64_t n : tightened) cells_[n].kind = kChanged;
}

bool GateStream::beside_changed(int64_t n) const {
  const int64_t row = n / shape_.w, column = n % shape_.w;
  for (int64_t y = std::max<int64_t>(0, row - 1); y < std::min(shape_.h, row + 2); ++y)
    for (int64_t x = std::max<int64_t>(0, column - 1); x < std::min(shape_.w, column + 2); ++x)
      if (cells_[y * shape_.w + x].kind == kChanged) return true;
  return false;
}

// max_age. Token ids grow with time, so the first id of the oldest frame that may live tells age.
void GateStream::expire() {
  if (rules_.max_age == 0) return;
  const int64_t oldest = state_.births[(state_.clock[0] + 1) % rules_.max_age];
  for (int64_t n = 0; n < shape_.cells(); ++n)
    if (cells_[n].kind != kChanged && source(n) < oldest) cells_[n].kind = kChanged;
}

// The token that explains a kept cell. A cell's ids change only with the cell itself, so one that
// stood still keeps its source.
int64_t GateStream::source(int64_t n) const {
  if (cells_[n].kind == kStatic) return state_.source[n];
  return plurality(state_.ids + ids_offset(n, cells_[n].motion), shape_.width, shape_.cell);
}

int64_t GateStream::ids_offset(int64_t n, Vector v) const {
  return shape_.offset(n, whole_vector(v, rules_.precision, number_));
}

}  // namespace patchgate
