// The arguments of a call of the motion gate, on the CPU and on CUDA alike: shapes, rules, and
// where the streams' state and the results lie. Knows no torch.
#pragma once

#include "gate.h"

namespace patchgate {

struct GateRules {
  int32_t limit, texture;
  int64_t radius, on_motion, cut;  // cut -1: off
  double hysteresis;               // negative: off
  bool adaptive;
  int64_t precision;            // vectors count in 1 / precision pixels: 1, 2 or 4
  int64_t max_age;              // 0: off
  const double* threshold_map;  // [h, w] or null
};

struct GateShape {
  int64_t streams, frames, tubelet, planes, height, width;  // [S, T, f, C, H, W]
  int64_t cell, sub_block, h, w;

  int64_t cells() const { return h * w; }
  int64_t plane() const { return height * width; }
  int64_t planes_per_cell() const { return tubelet * planes; }
  int64_t picture() const { return planes_per_cell() * plane(); }
  int top(int64_t n) const { return static_cast<int>(n / w * cell); }
  int left(int64_t n) const { return static_cast<int>(n % w * cell); }
  int64_t offset(int64_t n, Vector v = {0, 0}) const {
    return (top(n) + v.dy) * width + left(n) + v.dx;
  }
};

struct GateState {
  uint8_t* picture;    // [f, C, H, W] what the emitted tokens say the video looks like
  int32_t* ids;        // [H, W] the token that each of its pixels came from
  int64_t* source;     // [h, w] the token that explains each cell
  int64_t* clock;      // [2] frames seen, tokens emitted
  int64_t* births;     // [max_age] a ring: the first token id of each of the last frames
  int32_t* quartiles;  // [15] a ring: lower quartiles of the zero test's costs
  int32_t* light;      // [f, C, 4, h, w] what cells have gone through since encoded; null: off
};

struct GateResult {
  uint8_t* kind;     // [h, w]
  int8_t* motion;    // [h, w, 2]
  int32_t* cost;     // [h, w]
  int64_t* source;   // [h, w]
  bool* is_key;      // []
  int32_t* limit;    // []
  int32_t* weights;  // [f, C, 2], null where light is
  bool* lit;         // [h, w]
};

}  // namespace patchgate
