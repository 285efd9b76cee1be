// What a call of the gate may ask for, the same on the CPU, on CUDA and emulated: each check gives
// what is wrong, in words, or nothing. Knows no torch.
//
// What the state's tensors hold is not checked but for the clock: ids, sources, births and
// quartiles are only copied and compared. On CUDA the clock is looked at by the kernel
// (gate_cell.h), for the host does not wait for the device.
#pragma once

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "gate_call.h"

namespace patchgate {

constexpr int64_t kMostSide = int64_t{1} << 28;    // of a picture: quarters of a pixel fit 32 bits
constexpr int64_t kMostPlanes = 256;               // of a cell, all its frames
constexpr int64_t kMostPixels = int64_t{1} << 22;  // of a cell, all its frames: sums fit 32 bits
constexpr int64_t kMostLimit = (int64_t{1} << 30) - 1;  // twice as much fits 32 bits

template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

inline std::string fault_of(const GateShape& g) {
  if (g.cell < 1 || g.cell > 256 || g.sub_block < 1 || g.cell % g.sub_block != 0)
    return message("gate: cell ", g.cell, " must be 1..256 pixels and a multiple of sub_block ",
                   g.sub_block);
  for (const int64_t size : {g.tubelet, g.planes, g.height, g.width})
    if (size < 1)
      return message("gate: planes must have frames, planes and pixels, got f, C, H, W = ",
                     g.tubelet, ", ", g.planes, ", ", g.height, ", ", g.width);
  if (g.height % g.cell != 0 || g.width % g.cell != 0 || g.h != g.height / g.cell ||
      g.w != g.width / g.cell)
    return message("gate: ", g.height, " x ", g.width, " pixels are not ", g.h, " x ", g.w,
                   " cells of ", g.cell, " pixels");
  if (g.height > kMostSide || g.width > kMostSide || g.plane() > INT32_MAX)
    return message("gate: a picture of ", g.height, " x ", g.width, " pixels is too large");
  if (g.tubelet > kMostPlanes || g.planes > kMostPlanes || g.planes_per_cell() > kMostPlanes)
    return message("gate: ", g.tubelet, " frames of ", g.planes, " planes are more than ",
                   kMostPlanes, " planes in a cell");
  if (g.tubelet * g.cell * g.cell > kMostPixels)
    return message("gate: ", g.tubelet, " frames of cells of ", g.cell,
                   " pixels: sums over a cell would not fit 32 bits");
  if (g.streams > INT32_MAX / 2 / g.cells() || g.frames >= INT32_MAX)
    return message("gate: ", g.streams, " streams of ", g.frames, " frames of ", g.cells(),
                   " cells are too many for one push");
  return {};
}

// What the state of a call must look like: picture, ids, source, clock, births, quartiles,
// light.
struct NamedShape {
  const char* name;
  std::vector<int64_t> sizes;
};

inline std::vector<NamedShape> state_shapes(const GateShape& g, int64_t max_age,
                                            int64_t light_rows) {
  return {{"gate: picture", {g.streams, g.tubelet, g.planes, g.height, g.width}},
          {"gate: ids", {g.streams, g.height, g.width}},
          {"gate: source", {g.streams, g.h, g.w}},
          {"gate: clock", {g.streams, 2}},
          {"gate: births", {g.streams, max_age}},
          {"gate: quartiles", {g.streams, kQuartiles}},
          {"gate: light", {g.streams, g.tubelet, g.planes, 4, light_rows, g.w}}};
}

// Rows of cells whose light is followed: all, or none.
inline std::string fault_of_light(const GateShape& g, int64_t light_rows) {
  if (light_rows != 0 && light_rows != g.h)
    return message("gate: light has ", light_rows, " rows of cells, must have 0 or ", g.h);
  return {};
}

inline std::string fault_of_rules(int64_t limit, int64_t texture, int64_t radius, int64_t on_motion,
                                  int64_t cut, double hysteresis, int64_t precision) {
  if (limit < 0 || limit > kMostLimit)
    return message("gate: limit ", limit, " must be 0..", kMostLimit);
  if (texture < 0 || texture > INT32_MAX)
    return message("gate: texture ", texture, " must be 0..", INT32_MAX);
  if (precision != 1 && precision != 2 && precision != 4)
    return message("gate: motion_precision ", precision, " must be 1, 2 or 4");
  if (radius < 0 || radius > kMostSteps / precision)
    return message("gate: search_radius ", radius, " must be 0..", kMostSteps / precision);
  if (on_motion < kEncode || on_motion > kReuse)
    return message("gate: on_motion ", on_motion, " must be ", kEncode, "..", kReuse);
  if (cut < -1) return message("gate: cut ", cut, " must be a number of cells, or -1");
  if (std::isnan(hysteresis)) return "gate: hysteresis must be a number";
  return {};
}

// Before anything is written. clock [S, 2]
inline std::string fault_of_clock(const GateShape& g, const int64_t* clock) {
  for (int64_t s = 0; s < g.streams; ++s) {
    const int64_t seen = clock[2 * s], tokens = clock[2 * s + 1];
    if (!counts_frames(seen) || tokens < 0)
      return message("gate: the clock of stream ", s, " says ", seen, " frames and ", tokens,
                     " tokens: neither is less than 0 in a stream that a gate has seen");
    if (!has_ids(tokens, g.frames, g.cells()))
      return message("gate: stream ", s, " has emitted ", tokens,
                     " tokens, and this push could exceed 2^31: reset the stream first");
  }
  return {};
}

}  // namespace patchgate
