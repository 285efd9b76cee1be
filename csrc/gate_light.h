// The light of a frame: the arithmetic of its weights, the same on the CPU and on CUDA.
// docs/gate.md states the rule in words; python/patchgate/reference/gate_light.py is the
// definition.
#pragma once

#include "gate.h"

namespace patchgate {

constexpr int kLightBits = 12;
constexpr int64_t kLightOne = 1 << kLightBits;  // a gain of 1, an offset of one grey level
constexpr int kLightSide = 4;                   // samples of a cell across and down
constexpr int kLightSamples = kLightSide * kLightSide;
constexpr int64_t kLightQuorum = 8;    // one cell in so many in doubt: it is looked for
constexpr int64_t kLightCells = 4096;  // that are sampled at most
constexpr int kLightRounds = 3;        // of the fit, after the first line
constexpr int kLightGlance = 32;       // places at which it is looked for first
constexpr int kLightGlanceBits = 5;
constexpr int64_t kLeastGain = kLightOne / 4, kMostGain = 4 * kLightOne;  // of one frame
constexpr int64_t kFlatLight = 4;              // a variance below which no gain is told from noise
constexpr int kLightSlack = kLightSamples;     // a cell's squared error that is never left out
constexpr int kLightCap = 64 * kLightSamples;  // and what it counts at most
constexpr int32_t kMostLightError = (1 << 24) - 1;
constexpr int kLightParts = 4;  // of a cell's plane: least and greatest gain, and of mid-grey
constexpr int64_t kLeastTotal = kLightOne * 7 / 10,
                  kMostTotal = kLightOne * 10 / 7;                         // gain since the token
constexpr int64_t kMiddle = 128 * kLightOne, kMostShift = 40 * kLightOne;  // of mid-grey since then

// What a plane's samples become: (gain * sample + offset) / kLightOne.
struct LightWeights {
  int32_t gain, offset;
};

// (1, 0): the light has not changed.
PG_HOST_DEVICE LightWeights same_light() { return {static_cast<int32_t>(kLightOne), 0}; }
PG_HOST_DEVICE bool is_same(LightWeights w) { return w.gain == kLightOne && w.offset == 0; }

PG_HOST_DEVICE uint8_t weighed(uint8_t sample, LightWeights w) {
  const int32_t value = (w.gain * sample + w.offset + (1 << (kLightBits - 1))) >> kLightBits;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

PG_HOST_DEVICE int64_t floor_divided(int64_t a, int64_t b) {  // b > 0
  return a / b - (a % b != 0 && a < 0);
}

PG_HOST_DEVICE int64_t rounded_division(int64_t a, int64_t b) {
  return floor_divided(2 * a + b, 2 * b);
}

// Of samples in the reference (x) and in the frame (y).
struct LightSums {
  int64_t x, y, xx, xy, yy;
};

PG_HOST_DEVICE void add(LightSums& sums, const LightSums& more) {
  sums.x += more.x, sums.y += more.y;
  sums.xx += more.xx, sums.xy += more.xy, sums.yy += more.yy;
}

PG_HOST_DEVICE int light_place(int i, int cell) { return (2 * i + 1) * cell / (2 * kLightSide); }

// Of one plane of a cell: a lattice of samples.
PG_HOST_DEVICE LightSums light_sums(const uint8_t* then, const uint8_t* now, int64_t stride,
                                    int cell) {
  int32_t x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  for (int i = 0; i < kLightSide; ++i)
    for (int j = 0; j < kLightSide; ++j) {
      const int64_t at = light_place(i, cell) * stride + light_place(j, cell);
      const int32_t a = then[at], b = now[at];
      x += a, y += b, xx += a * a, xy += a * b, yy += b * b;
    }
  return {x, y, xx, xy, yy};
}

// The line of least squares through the samples of so many cells (at least one).
PG_HOST_DEVICE LightWeights light_line(const LightSums& s, int64_t cells) {
  const int64_t n = kLightSamples * cells, across = n * s.xx - s.x * s.x;
  int64_t gain = kLightOne;
  if (across >= kFlatLight * n * n) {
    gain = rounded_division(kLightOne * (n * s.xy - s.x * s.y), across);
    gain = gain < kLeastGain ? kLeastGain : gain > kMostGain ? kMostGain : gain;
  }
  const int64_t offset = rounded_division(kLightOne * s.y - gain * s.x, n);
  return {static_cast<int32_t>(gain), static_cast<int32_t>(offset)};
}

// The sum of squares that a line leaves of a cell, in whole squared levels.
PG_HOST_DEVICE int32_t light_error(const LightSums& s, LightWeights w) {
  const int64_t gain = w.gain, offset = w.offset;
  const int64_t squares =
      (s.yy << 2 * kLightBits) + gain * gain * s.xx + kLightSamples * offset * offset;
  const int64_t mixed = gain * kLightOne * s.xy + offset * kLightOne * s.y - gain * offset * s.x;
  const int64_t error = (squares - 2 * mixed) >> 2 * kLightBits;
  return error > kMostLightError ? kMostLightError : static_cast<int32_t>(error);
}

PG_HOST_DEVICE int32_t capped_error(const LightSums& s, LightWeights w) {
  const int32_t error = light_error(s, w);
  return error > kLightCap ? kLightCap : error;
}

// How many eighths of what there was weights may leave at most.
constexpr int64_t kGlanceLeaves = 7, kLightLeaves = 6;

PG_HOST_DEVICE bool light_helps(int64_t before, int64_t after, int64_t eighths) {
  return before > 0 && 8 * after <= eighths * before;
}

// Place i at which the light is looked for first: the cell's number. Hammersley's points: spread
// over the picture alike, whatever its shape.
PG_HOST_DEVICE int64_t glance_place(int i, int64_t h, int64_t w) {
  int reversed = 0;
  for (int bit = 0; bit < kLightGlanceBits; ++bit)
    reversed |= (i >> bit & 1) << (kLightGlanceBits - 1 - bit);
  const int64_t row = (2 * i + 1) * h / (2 * kLightGlance);
  return row * w + (2 * reversed + 1) * w / (2 * kLightGlance);
}

// Whether the zero test leaves so much of a cell that its light may have changed.
PG_HOST_DEVICE bool in_doubtful_light(int32_t cost, int32_t limit) {
  return 2 * int64_t{cost} > limit;
}

// A cell that still equals its reference keeps it, unless the light brings it nearer, and not too
// far from its token's own (it would be encoded for that): then `stays_near`.
PG_HOST_DEVICE bool takes_light(int32_t plain, int32_t cost, int32_t limit, bool stays_near) {
  return limit != kAlways && ((cost < plain && stays_near) || plain > limit);
}

// Part k of what a plane of a cell has gone through, after another frame's weights.
PG_HOST_DEVICE int32_t composed(int32_t total, LightWeights w, int k) {
  const int64_t scaled = (int64_t{total} * w.gain + kLightOne / 2) >> kLightBits;
  return static_cast<int32_t>(scaled + (k < 2 ? 0 : w.offset));
}

PG_HOST_DEVICE int32_t fresh_light(int k) {
  return static_cast<int32_t>(k < 2 ? kLightOne : kMiddle);
}

// Whether part k says that a token is shown in a light too far from its own.
PG_HOST_DEVICE bool is_too_far(int32_t total, int k) {
  if (k < 2) return total < kLeastTotal || total > kMostTotal;
  return total < kMiddle - kMostShift || total > kMiddle + kMostShift;
}

// The widest of what two cells have gone through: parts 0 and 2 are the least, 1 and 3 the
// greatest.
PG_HOST_DEVICE int32_t widest(int32_t a, int32_t b, int k) {
  return k % 2 == 0 ? (a < b ? a : b) : (a > b ? a : b);
}

}  // namespace patchgate
