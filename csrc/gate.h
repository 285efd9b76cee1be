// The motion gate's arithmetic for one cell, the same code on the CPU and on CUDA. docs/gate.md
// states the rules in words; python/patchgate/reference/gate.py is the definition.
#pragma once

#include <cfloat>

#include "portable.h"

namespace patchgate {

enum Kind : uint8_t { kStatic = 0, kMoved = 1, kChanged = 2 };
enum OnMotion : int64_t { kEncode = 0, kCamera = 1, kReuse = 2 };

constexpr int32_t kAlways = INT32_MAX;    // a limit that every cost passes
constexpr int32_t kUntested = INT32_MAX;  // the cost of a vector that was not tried
constexpr int kQuartiles = 15;            // frames that the adaptive limit looks back
constexpr int kMostSteps = 127;           // of a vector, which has 8 bits

struct Vector {
  int dy, dx;
};

struct Match {
  int32_t objective;
  Vector vector;
};

PG_HOST_DEVICE int magnitude(Vector v) {
  return (v.dy < 0 ? -v.dy : v.dy) + (v.dx < 0 ? -v.dx : v.dx);
}

PG_HOST_DEVICE bool operator==(Vector a, Vector b) { return a.dy == b.dy && a.dx == b.dx; }

// Ties: least |dy| + |dx|, then (dy, dx) in raster order. The order as a number: the least wins.
PG_HOST_DEVICE uint32_t tie_rank(Vector v) {
  return static_cast<uint32_t>(magnitude(v) << 16 | (v.dy + 128) << 8 | (v.dx + 128));
}

PG_HOST_DEVICE Vector vector_of_rank(uint32_t rank) {
  return {static_cast<int>(rank >> 8 & 255) - 128, static_cast<int>(rank & 255) - 128};
}

PG_HOST_DEVICE bool precedes(Vector a, Vector b) { return tie_rank(a) < tie_rank(b); }

PG_HOST_DEVICE bool better(Match a, Match b) {
  return a.objective != b.objective ? a.objective < b.objective : precedes(a.vector, b.vector);
}

// What a vector costs in the search, in units of SAD: keeps noise from inventing motion.
PG_HOST_DEVICE int32_t vector_price(int cell, Vector v, int precision = 1) {
  return ((cell * cell) >> 4) * magnitude(v) / precision;
}

// A vector the search may use: not (0, 0), in reach, its block wholly inside the picture. The
// radius, the cell's corner (y, x), its side and the picture are in pixels.
PG_HOST_DEVICE bool is_candidate(Vector v, int radius, int y, int x, int cell, int height,
                                 int width, int precision = 1) {
  const int reach = radius * precision, top = y * precision + v.dy, left = x * precision + v.dx;
  return magnitude(v) > 0 && v.dy >= -reach && v.dy <= reach && v.dx >= -reach && v.dx <= reach &&
         top >= 0 && left >= 0 && top <= (height - cell) * precision &&
         left <= (width - cell) * precision;
}

// Quarters of a pixel, which are what the finest vectors count in.
constexpr int kQuarters = 4;

// The whole pixels by which a vector displaces token ids in a frame of this number. A fraction is
// rounded up as often as it should be: always rounded alike, slow motion would leave them behind.
PG_HOST_DEVICE int whole_steps(int steps, int precision, int64_t frame) {
  const int up = frame % 4 == 0 ? 0 : frame % 4 == 1 ? 2 : frame % 4 == 2 ? 1 : 3;
  return (steps * (kQuarters / precision) + up) >> 2;  // floor
}

PG_HOST_DEVICE Vector whole_vector(Vector v, int precision, int64_t frame) {
  return {whole_steps(v.dy, precision, frame), whole_steps(v.dx, precision, frame)};
}

// The sample so many quarters of a pixel behind `here`, of six in a row: H.264's half samples
// (ITU-T H.264, 8.4.2.2.1), quarters the rounded mean of the two nearest.
PG_HOST_DEVICE int between(int a, int b, int here, int there, int e, int f, int quarters) {
  if (quarters == 0) return here;
  int half = (20 * (here + there) - 5 * (b + e) + (a + f) + 16) >> 5;
  half = half < 0 ? 0 : half > 255 ? 255 : half;
  if (quarters == 2) return half;
  return ((quarters == 1 ? here : there) + half + 1) >> 1;
}

PG_HOST_DEVICE int32_t absolute_difference(uint8_t a, uint8_t b) { return a > b ? a - b : b - a; }

// Sum of absolute differences of two size x size blocks.
PG_HOST_DEVICE int32_t block_sad(const uint8_t* a, const uint8_t* b, int64_t stride_a,
                                 int64_t stride_b, int size) {
  int32_t sum = 0;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      sum += absolute_difference(a[y * stride_a + x], b[y * stride_b + x]);
  return sum;
}

// Largest sub-block SAD of one plane of a cell: one changed letter must not be averaged away.
PG_HOST_DEVICE int32_t plane_cost(const uint8_t* a, const uint8_t* b, int64_t stride_a,
                                  int64_t stride_b, int cell, int sub_block) {
  int32_t cost = 0;
  for (int y = 0; y < cell; y += sub_block)
    for (int x = 0; x < cell; x += sub_block) {
      const int32_t sad =
          block_sad(a + y * stride_a + x, b + y * stride_b + x, stride_a, stride_b, sub_block);
      cost = sad > cost ? sad : cost;
    }
  return cost;
}

// Sum of a row's absolute differences to its right neighbours and to the row below, if there is
// one.
PG_HOST_DEVICE int32_t row_texture(const uint8_t* row, int64_t stride, int cell, bool has_below) {
  int32_t sum = 0;
  for (int x = 0; x + 1 < cell; ++x) sum += absolute_difference(row[x], row[x + 1]);
  for (int x = 0; has_below && x < cell; ++x) sum += absolute_difference(row[x], row[x + stride]);
  return sum;
}

// Sum of absolute horizontal and vertical neighbour differences inside a cell.
PG_HOST_DEVICE int32_t cell_texture(const uint8_t* a, int64_t stride, int cell) {
  int32_t sum = 0;
  for (int y = 0; y < cell; ++y) sum += row_texture(a + y * stride, stride, cell, y + 1 < cell);
  return sum;
}

// floor(limit * factor) in one IEEE double product, so that every back end rounds alike. A factor
// that is no number, or less than 0, is 0.
PG_HOST_DEVICE int32_t scaled_limit(int32_t limit, double factor) {
  if (limit == kAlways || factor > DBL_MAX) return kAlways;
  const double scaled = limit * factor;
  if (!(scaled > 0)) return 0;
  return scaled >= kAlways ? kAlways : static_cast<int32_t>(scaled);
}

// noise="adaptive": 3/2 of the median quartile, between the limit and twice the limit.
PG_HOST_DEVICE int32_t adaptive_limit(int32_t median, int32_t limit) {
  const int64_t wanted = int64_t{3} * median / 2;
  const int64_t most = int64_t{2} * limit;
  const int64_t clipped = wanted < limit ? limit : wanted > most ? most : wanted;
  return static_cast<int32_t>(clipped);
}

// ---- what a stream's clock may say

constexpr int64_t kMostFrames = int64_t{1} << 62;  // seen by one stream

PG_HOST_DEVICE bool counts_frames(int64_t seen) { return seen >= 0 && seen <= kMostFrames; }

// Token ids are kept per pixel in 32 bits: whether a push has room for all that it could emit.
PG_HOST_DEVICE bool has_ids(int64_t tokens, int64_t frames, int64_t cells) {
  return tokens >= 0 && tokens < INT32_MAX - frames * cells;
}

}  // namespace patchgate
