#include "cpu/gate/subpixel_search.h"

#include <cstring>

namespace patchgate {

Match SubpixelSearch::best(const uint8_t* now, const uint8_t* then, const GateShape& shape,
                           int64_t n, const GateRules& rules, Match start) {
  const int precision = static_cast<int>(rules.precision), cell = static_cast<int>(shape.cell);
  const int y = shape.top(n), x = shape.left(n), quarters = kQuarters / precision;
  const Vector whole{start.vector.dy / precision, start.vector.dx / precision};
  window_.load(then, shape.tubelet, shape.planes * shape.plane(), y + whole.dy, x + whole.dx, cell,
               shape.height, shape.width);
  copy_cell(now, shape, n);
  Match best = start;
  for (int step = precision / 2; step > 0; step /= 2) {
    const Vector centre = best.vector;
    for (int i = 0; i < 9; ++i) {
      const Vector v{centre.dy + (i / 3 - 1) * step, centre.dx + (i % 3 - 1) * step};
      const int32_t price = vector_price(cell, v, precision);
      if (v == centre || price > best.objective ||
          !is_candidate(v, static_cast<int>(rules.radius), y, x, cell, shape.height, shape.width,
                        precision))
        continue;
      const Vector aside{v.dy - start.vector.dy, v.dx - start.vector.dx};  // -3..3 quarters
      const Match match{sad({aside.dy * quarters, aside.dx * quarters}) + price, v};
      if (better(match, best)) best = match;
    }
  }
  return best;
}

// Its luma, and which bytes are the cell's: the rest of the window counts for nothing.
void SubpixelSearch::copy_cell(const uint8_t* now, const GateShape& shape, int64_t n) {
  const int64_t span = window_.span(), cell = shape.cell;
  if (cell_ != cell || frames_ != shape.tubelet) {
    cell_ = cell, frames_ = shape.tubelet;
    count_ = ((frames_ - 1) * span + cell) * span;
    now_.assign(count_, 0);
    mask_.assign(count_, 0);
    for (int64_t row = 0; row < frames_ * span; ++row)
      if (row % span < cell) std::memset(&mask_[row * span], 0xFF, cell);
  }
  for (int64_t f = 0; f < frames_; ++f)
    for (int64_t y = 0; y < cell; ++y)
      std::memcpy(&now_[(f * span + y) * span],
                  now + f * shape.planes * shape.plane() + shape.offset(n) + y * shape.width, cell);
}

int32_t SubpixelSearch::sad(Vector quarters) {
  return sad_of_means(now_.data(), mask_.data(), window_.at(quarters), count_);
}

}  // namespace patchgate
