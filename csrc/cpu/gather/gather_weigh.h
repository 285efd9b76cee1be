// The one inner loop of both passes of the gather: weighted sums over quads of samples, a lane per
// row (horizontal pass) or per column (vertical pass).
//
// Samples lie as [quads][lanes][4] u8: four neighbours along the filter's axis make a 32-bit word,
// which is what one dot-product instruction takes. An output's taps start on a whole quad.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/frame_grid/frame_grid_plane.h"
#include "cpu/gather/gather_simd.h"
#include "gather.h"

namespace patchgate {

// out[lane] = round(sum of weights * samples); `stride`: bytes from one quad's lanes to the next.
using Weigh = void (*)(const uint8_t* samples, int64_t stride,
                       const uint32_t* weights,  // [quads][4], in the level's own layout
                       int64_t quads, int64_t lanes, uint8_t* out /* [lanes] */);

namespace portable {

// Four weights as they are.
inline void pack_quad(const int32_t* quad, uint32_t* words) { std::memcpy(words, quad, 16); }

PG_SIMD_CLONES inline void weigh(const uint8_t* samples, int64_t stride, const uint32_t* weights,
                                 int64_t quads, int64_t lanes, uint8_t* out) {
  for (int64_t at = 0; at < lanes; at += kLanes) {
    int32_t sums[kLanes] = {};
    for (int64_t q = 0; q < quads; ++q) {
      const uint8_t* words = samples + q * stride + at * 4;
      for (int k = 0; k < 4; ++k) {
        const auto weight = static_cast<int32_t>(weights[q * 4 + k]);
        for (int64_t j = 0; j < kLanes; ++j) sums[j] += weight * words[j * 4 + k];
      }
    }
    for (int64_t j = 0; j < kLanes; ++j) out[at + j] = round_filter(sums[j]);
  }
}

}  // namespace portable

// A tap table by quads of samples, in the layout of a level.
struct QuadTaps {
  int64_t out;
  int64_t quads = 0;              // of every output, as many as the widest needs
  std::vector<int32_t> first;     // [out] quad, -1 outside the picture
  std::vector<uint32_t> weights;  // [out, quads, 4]
  Weigh weigh = portable::weigh;

  QuadTaps(TapTable table, RowLevel level) : out(table.out), first(table.out) {
    auto* pack_quad = portable::pack_quad;
#ifdef __x86_64__
    if (level == RowLevel::kAvx2) weigh = avx2::weigh, pack_quad = avx2::pack_quad;
    if (level == RowLevel::kAvx512) weigh = avx512::weigh, pack_quad = avx512::pack_quad;
#endif
    static_cast<void>(level);
    for (int64_t i = 0; i < out; ++i) {
      const int64_t from = table.row(i)[0];
      first[i] = static_cast<int32_t>(from >> 2);  // -1 stays -1
      if (from >= 0) quads = std::max(quads, (from % 4 + table.count + 3) / 4);
    }
    weights.resize(out * quads * 4);
    std::vector<int32_t> row(quads * 4);
    for (int64_t i = 0; i < out; ++i) {
      if (first[i] < 0) continue;
      std::fill(row.begin(), row.end(), 0);
      std::copy_n(table.row(i) + 1, table.count, row.begin() + table.row(i)[0] % 4);
      for (int64_t q = 0; q < quads; ++q) {
        pack_quad(row.data() + q * 4, weights.data() + (i * quads + q) * 4);
      }
    }
  }

  // The quads that outputs [begin, end) read; empty where all are outside.
  struct Span {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
  };
  Span span(int64_t begin, int64_t end) const {
    Span all{INT64_MAX, 0};
    for (int64_t i = begin; i < end; ++i) {
      if (first[i] < 0) continue;
      all.begin = std::min<int64_t>(all.begin, first[i]);
      all.end = std::max<int64_t>(all.end, first[i] + quads);
    }
    return all.end == 0 ? Span{0, 0} : all;
  }

  void run(int64_t i, const uint8_t* samples, int64_t stride, int64_t lanes, uint8_t* to) const {
    weigh(samples, stride, weights.data() + i * quads * 4, quads, lanes, to);
  }
};

// What a table must satisfy for the loops to stay inside the plane and inside 32 bits.
inline bool valid_filter(TapTable table, int64_t in) {
  for (int64_t i = 0; i < table.out; ++i) {
    const int32_t* taps = table.row(i);
    if (taps[0] == -1) continue;
    if (taps[0] < 0 || taps[0] + table.count > in) return false;
    int64_t sum = 0;
    for (int64_t k = 1; k <= table.count; ++k) sum += std::abs(static_cast<int64_t>(taps[k]));
    if (sum > kFilterLimit) return false;
  }
  return true;
}

}  // namespace patchgate
