// gate.h's `between`, four samples of a word at a time: six taps are two dot products of bytes.
#pragma once

#include "cuda/bytes.h"

namespace patchgate {

// (1, -5, 20, 20) and (-5, 1), a byte each; the second also for bytes in the upper half of a word.
constexpr uint32_t kFirstTaps = 0x1414FB01, kLastTaps = 0x000001FB, kLastTapsUpper = 0x01FB0000;

// The half sample amid six: `first` are four of them, `last` the other two.
__device__ __forceinline__ uint32_t half_sample(uint32_t first, uint32_t last,
                                                uint32_t last_taps = kLastTaps) {
  const int sum = dot4(first, kFirstTaps, dot4(last, last_taps, 16)) >> 5;
  return static_cast<uint32_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

__device__ __forceinline__ uint32_t packed(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a | b << 8 | c << 16 | d << 24;
}

// Rounded means of four pairs of bytes.
__device__ __forceinline__ uint32_t mean4(uint32_t a, uint32_t b) {
  return (a | b) - ((a ^ b) >> 1 & 0x7F7F7F7F);
}

// Samples so many quarters behind `here`: of these, the half ones behind them and the next.
__device__ __forceinline__ uint32_t quarter_samples(uint32_t here, uint32_t half, uint32_t there,
                                                    int quarters) {
  if (quarters == 0) return here;
  return quarters == 2 ? half : mean4(quarters == 1 ? here : there, half);
}

// Half samples downwards, of four columns: from six rows, `stride` words apart.
__device__ __forceinline__ uint32_t halves_down(const uint32_t* row, int stride) {
  const uint32_t a = row[0], b = row[stride], c = row[2 * stride], d = row[3 * stride];
  const uint32_t e = row[4 * stride], f = row[5 * stride];
  // The transpose: pairs of bytes of the left two columns, then of the right two.
  const uint32_t ab = __byte_perm(a, b, 0x5140), cd = __byte_perm(c, d, 0x5140);
  const uint32_t ef = __byte_perm(e, f, 0x5140);
  const uint32_t AB = __byte_perm(a, b, 0x7362), CD = __byte_perm(c, d, 0x7362);
  const uint32_t EF = __byte_perm(e, f, 0x7362);
  return packed(half_sample(__byte_perm(ab, cd, 0x5410), ef),
                half_sample(__byte_perm(ab, cd, 0x7632), ef, kLastTapsUpper),
                half_sample(__byte_perm(AB, CD, 0x5410), EF),
                half_sample(__byte_perm(AB, CD, 0x7632), EF, kLastTapsUpper));
}

// Four samples of a row and the four one further right, at any quarter behind them; `row` begins
// two samples ahead.
struct SamplesAcross {
  uint32_t whole[3], half[2];

  __device__ __forceinline__ explicit SamplesAcross(const uint32_t* row) {
    const uint32_t a = row[0], b = row[1], c = row[2];
    uint32_t halves[5];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      halves[i] = half_sample(__funnelshift_r(a, b, 8 * i), __funnelshift_r(b, c, 8 * i));
    halves[4] = half_sample(b, c);
    whole[0] = __funnelshift_r(a, b, 16), whole[1] = __funnelshift_r(a, b, 24), whole[2] = b;
    half[0] = packed(halves[0], halves[1], halves[2], halves[3]);
    half[1] = half[0] >> 8 | halves[4] << 24;
  }

  // `further`: 0, or 1 for those further right.
  __device__ __forceinline__ uint32_t at(int further, int quarters) const {
    return further == 0 ? quarter_samples(whole[0], half[0], whole[1], quarters)
                        : quarter_samples(whole[1], half[1], whole[2], quarters);
  }
};

}  // namespace patchgate
