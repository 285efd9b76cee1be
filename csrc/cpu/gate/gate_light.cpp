// The light of a frame, and the cells of the reference that follow it. docs/gate.md has the rule.
#include "gate_light.h"

#include <algorithm>

#include "cpu/gate/gate_stream.h"
#include "cpu/gate/sad.h"
#include "cpu/simd.h"

namespace patchgate {
namespace {

PG_SIMD_CLONES void weigh_samples(const uint8_t* from, int64_t count, LightWeights w,
                                  uint8_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = weighed(from[i], w);
}

// The line through all cells but the quarter that it fits worst; (1, 0) if it leaves too much.
LightWeights fitted(const std::vector<LightSums>& cells, int64_t eighths) {
  const auto count = static_cast<int64_t>(cells.size());
  std::vector<int32_t> errors(count), sorted;
  int32_t worst = INT32_MAX;
  LightWeights line{};
  for (int round = 0; round <= kLightRounds; ++round) {
    LightSums sums{};
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i)
      if (errors[i] <= worst) add(sums, cells[i]), ++kept;
    line = light_line(sums, kept);
    if (round == kLightRounds) break;
    for (int64_t i = 0; i < count; ++i) errors[i] = light_error(cells[i], line);
    sorted = errors;
    const auto rank = sorted.begin() + 3 * (count - 1) / 4;
    std::nth_element(sorted.begin(), rank, sorted.end());
    worst = std::max(*rank, kLightSlack);
  }
  int64_t before = 0, after = 0;
  for (const LightSums& cell : cells) {
    before += capped_error(cell, same_light());
    after += capped_error(cell, line);
  }
  return light_helps(before, after, eighths) ? line : same_light();
}

}  // namespace

int32_t GateStream::plain_limit(int64_t n) const {
  return rules_.threshold_map ? scaled_limit(rules_.limit, rules_.threshold_map[n]) : rules_.limit;
}

bool GateStream::is_doubtful(int64_t n) const {
  return in_doubtful_light(zero_[n], plain_limit(n));
}

// Whether so many cells are in doubt that the light may have changed.
bool GateStream::is_light_doubtful() const {
  int32_t doubtful = 0;
  if (rules_.threshold_map) {
    for (int64_t n = 0; n < shape_.cells(); ++n) doubtful += is_doubtful(n);
  } else {  // the same, many cells at a time: every frame pays for it
    const int32_t least = rules_.limit / 2;
    for (const int32_t cost : zero_) doubtful += cost > least;
  }
  return kLightQuorum * doubtful >= shape_.cells();
}

// The places of the first glance that are in doubt.
std::vector<int64_t> GateStream::glanced_cells() const {
  std::vector<int64_t> wanted;
  for (int i = 0; i < kLightGlance; ++i) {
    const int64_t n = glance_place(i, shape_.h, shape_.w);
    if (is_doubtful(n)) wanted.push_back(n);
  }
  return wanted;
}

// The cells that the weights are found in.
std::vector<int64_t> GateStream::doubtful_cells() const {
  std::vector<int64_t> wanted;
  const int64_t stride = (shape_.cells() + kLightCells - 1) / kLightCells;
  for (int64_t n = 0; n < shape_.cells(); n += stride)
    if (is_doubtful(n)) wanted.push_back(n);
  return wanted;
}

// The weights of a plane, found in some cells; (1, 0): they leave too much of them.
LightWeights GateStream::weights_in(const std::vector<int64_t>& cells, int64_t plane,
                                    int64_t eighths) const {
  if (cells.empty()) return same_light();
  std::vector<LightSums> sums(cells.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    const int64_t at = plane * shape_.plane() + shape_.offset(cells[i]);
    sums[i] =
        light_sums(state_.picture + at, frame_ + at, shape_.width, static_cast<int>(shape_.cell));
  }
  return fitted(sums, eighths);
}

void GateStream::find_light() {
  is_relit_ = false;
  if (state_.light == nullptr) return;
  weights_.assign(shape_.planes_per_cell(), same_light());
  lit_.assign(shape_.cells(), 0);
  if (is_first() || !is_light_doubtful()) return;
  const std::vector<int64_t> glanced = glanced_cells();
  std::vector<int64_t> wanted;
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    const int64_t luma = p - p % shape_.planes;
    if (is_same(p == luma ? weights_in(glanced, p, kGlanceLeaves) : weights_[luma])) continue;
    if (wanted.empty()) wanted = doubtful_cells();
    weights_[p] = weights_in(wanted, p, kLightLeaves);
    is_relit_ |= !is_same(weights_[p]);
  }
}

// Brings the cells of one row that follow the light to it, and tests them again.
void GateStream::relight_row(int64_t row) {
  thread_local std::vector<uint8_t> pixels;
  thread_local std::vector<int32_t> cost;
  const int64_t first = row * shape_.w, band = shape_.cell * shape_.width;
  const int cell = static_cast<int>(shape_.cell);
  pixels.resize(shape_.planes_per_cell() * band);
  cost.assign(shape_.w, 0);
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    const int64_t at = p * shape_.plane() + row * band;
    weigh_samples(state_.picture + at, band, weights_[p], &pixels[p * band]);
    row_costs(frame_ + at, &pixels[p * band], shape_.width, shape_.w, cell,
              static_cast<int>(shape_.sub_block), cost.data());
  }
  for (int64_t i = 0; i < shape_.w; ++i) {
    const int64_t n = first + i;
    lit_[n] = takes_light(zero_[n], cost[i], plain_limit(n), stays_near(n));
    if (!lit_[n]) continue;
    zero_[n] = cost[i];
    for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
      const uint8_t* from = &pixels[p * band + i * cell];
      uint8_t* to = state_.picture + p * shape_.plane() + shape_.offset(n);
      for (int y = 0; y < cell; ++y)
        std::copy_n(from + y * shape_.width, cell, to + y * shape_.width);
      for (int k = 0; k < kLightParts; ++k) {
        int32_t& total = light_at(p, k)[n];
        total = composed(total, weights_[p], k);
      }
    }
  }
}

int32_t* GateStream::light_at(int64_t plane, int k) const {
  return state_.light + (plane * kLightParts + k) * shape_.cells();
}

// Whether a cell that took the weights would show its token in a light near enough to its own.
bool GateStream::stays_near(int64_t n) const {
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p)
    for (int k = 0; k < kLightParts; ++k)
      if (is_too_far(composed(light_at(p, k)[n], weights_[p], k), k)) return false;
  return true;
}

// What the pixels that a kept cell shows have gone through: the widest of the cells they come from.
int32_t GateStream::light_brought(int64_t n, int64_t plane, int k) const {
  const int32_t* light = light_at(plane, k);
  if (cells_[n].kind != kMoved) return light[n];
  const Vector whole = whole_vector(cells_[n].motion, rules_.precision, number_);
  const int64_t top = shape_.top(n) + whole.dy, left = shape_.left(n) + whole.dx;
  const int64_t y0 = top / shape_.cell * shape_.w, x0 = left / shape_.cell;
  const int64_t y1 = (top + shape_.cell - 1) / shape_.cell * shape_.w;
  const int64_t x1 = (left + shape_.cell - 1) / shape_.cell;
  return widest(widest(light[y0 + x0], light[y0 + x1], k),
                widest(light[y1 + x0], light[y1 + x1], k), k);
}

// A kept cell that shows its token in a light too far from the token's own is encoded. What cells
// have gone through changes with the light only: of cells that are near enough, so is the widest.
void GateStream::expire_light() {
  if (!is_relit_) return;
  for (int64_t n = 0; n < shape_.cells(); ++n)
    for (int64_t p = 0; p < shape_.planes_per_cell() && cells_[n].kind != kChanged; ++p)
      for (int k = 0; k < kLightParts; ++k)
        if (is_too_far(light_brought(n, p, k), k)) cells_[n].kind = kChanged;
}

// Moved cells are all read before any is written, as the picture is.
void GateStream::write_light(const GateResult& result) {
  if (state_.light == nullptr) return;
  std::vector<int32_t> brought(moved_.size());
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    result.weights[2 * p] = weights_[p].gain, result.weights[2 * p + 1] = weights_[p].offset;
    for (int k = 0; k < kLightParts; ++k) {
      for (size_t i = 0; i < moved_.size(); ++i) brought[i] = light_brought(moved_[i], p, k);
      int32_t* light = light_at(p, k);
      for (size_t i = 0; i < moved_.size(); ++i) light[moved_[i]] = brought[i];
      for (int64_t n : changed_) light[n] = fresh_light(k);
    }
  }
  std::copy_n(lit_.begin(), shape_.cells(), result.lit);
}

}  // namespace patchgate
