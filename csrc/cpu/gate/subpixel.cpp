#include "cpu/gate/subpixel.h"

#include <algorithm>
#include <cstring>

#include "cpu/simd.h"

namespace patchgate {
namespace {

// Rows lie end to end, so that one loop goes over all of a window. What it makes of a row's end and
// the next one's beginning stands in the margins, where nobody reads it.

// to[i]: half way between from[i] and from[i + step].
PG_SIMD_CLONES void make_halves(const uint8_t* from, int64_t step, int64_t count,
                                uint8_t* __restrict to) {
  const uint8_t *a = from - 2 * step, *b = from - step, *there = from + step;
  const uint8_t *e = from + 2 * step, *f = from + 3 * step;
  for (int64_t i = 0; i < count; ++i)
    to[i] = static_cast<uint8_t>(between(a[i], b[i], from[i], there[i], e[i], f[i], 2));
}

PG_SIMD_CLONES void make_means(Means from, int64_t count, uint8_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = static_cast<uint8_t>((from.a[i] + from.b[i] + 1) >> 1);
}

// What lies so many quarters (-3..3) behind `whole` in a direction, if `half` is half way to the
// next sample in that direction, `step` bytes on.
Means means_at(const uint8_t* whole, const uint8_t* half, int64_t step, int quarters) {
  if (quarters == 0) return {whole, whole};
  if (quarters < 0) whole -= step, half -= step;
  if (quarters % 2 == 0) return {half, half};
  const bool beyond = quarters == 3 || quarters == -1;  // nearer to the next sample
  return {beyond ? whole + step : whole, half};
}

// A row of `span` pixels from column `left` on; beyond its edges it repeats its last pixel.
void copy_row(const uint8_t* row, int width, int left, int span, uint8_t* to) {
  const int first = std::max(0, -left), last = std::min(span, width - left);
  std::memcpy(to + first, row + left + first, last - first);
  if (first > 0) std::memset(to, row[0], first);
  if (last < span) std::memset(to + last, row[width - 1], span - last);
}

}  // namespace

void SubpixelWindow::load(const uint8_t* planes, int frames, int64_t frame_stride, int y, int x,
                          int side, int height, int width) {
  span_ = side + 2 * kMargin, frames_ = frames, odd_ = 0;
  for (Plane* plane : {&half_, &whole_across_, &half_across_, &quarter_across_})
    plane->is_made = false;
  uint8_t* to = fresh(whole_);
  for (int f = 0; f < frames; ++f)
    for (int r = 0; r < span_; ++r, to += span_) {
      const int row = std::clamp(y - kMargin + r, 0, height - 1);
      copy_row(planes + f * frame_stride + int64_t{row} * width, width, x - kMargin, span_, to);
    }
}

uint8_t* SubpixelWindow::fresh(Plane& plane) {
  plane.samples.resize(size());
  plane.is_made = true;
  return plane.samples.data();
}

// All rows but those at the window's edges, of which the filter would need more.
const uint8_t* SubpixelWindow::down(int quarters) {
  if (quarters == 0) return whole_.samples.data();
  const int64_t first = 2 * span_, count = size() - 5 * span_;
  if (!half_.is_made)
    make_halves(whole_.samples.data() + first, span_, count, fresh(half_) + first);
  const Means means = means_at(whole_.samples.data(), half_.samples.data(), span_, quarters);
  if (means.a == means.b) return means.a;
  if (odd_ != quarters) {
    make_means({means.a + first, means.b + first}, count, fresh(quarter_) + first);
    odd_ = quarters, quarter_across_.is_made = false;
  }
  return quarter_.samples.data();
}

const uint8_t* SubpixelWindow::across(int quarters) {
  const uint8_t* moved = down(quarters);
  const bool is_whole = quarters == 0, is_half = quarters % 2 == 0;
  const Plane& from = is_whole ? whole_ : is_half ? half_ : quarter_;
  Plane& to = is_whole ? whole_across_ : is_half ? half_across_ : quarter_across_;
  const int64_t first = 2 * span_ + 2;
  if (!to.is_made)
    make_halves(from.samples.data() + first, 1, size() - 5 * span_ - 5, fresh(to) + first);
  return to.samples.data() + (moved - from.samples.data());
}

Means SubpixelWindow::at(Vector quarters) {
  const int64_t corner = int64_t{kMargin} * span_ + kMargin;
  const uint8_t* whole = down(quarters.dy) + corner;
  if (quarters.dx == 0) return {whole, whole};
  return means_at(whole, across(quarters.dy) + corner, 1, quarters.dx);
}

Block SubpixelWindow::block(Vector quarters) {
  const Means means = at(quarters);
  if (means.a == means.b) return {means.a, span_};
  uint8_t* to = fresh(mean_);
  make_means(means, size() - (2 * kMargin) * (span_ + 1), to);
  return {to, span_};
}

PG_SIMD_CLONES int32_t sad_of_means(const uint8_t* now, const uint8_t* mask, Means then,
                                    int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto mean = static_cast<uint8_t>((then.a[i] + then.b[i] + 1) >> 1);
    const auto seen = static_cast<uint8_t>(mean & mask[i]);
    sum += now[i] > seen ? now[i] - seen : seen - now[i];
  }
  return sum;
}

Block block_between(const uint8_t* plane, int height, int width, Vector quarters, int side) {
  thread_local SubpixelWindow window;
  const int y = quarters.dy / kQuarters, x = quarters.dx / kQuarters;
  const Vector part{quarters.dy % kQuarters, quarters.dx % kQuarters};
  if (part == Vector{0, 0}) return {plane + int64_t{y} * width + x, width};
  window.load(plane, 1, 0, y, x, side, height, width);
  return window.block(part);
}

}  // namespace patchgate
