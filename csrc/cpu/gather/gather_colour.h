// Rows of RGB u8 out of a picture, a part of a row at a time.
#pragma once

#include <type_traits>

#include "cpu/frame_grid/frame_grid_plane.h"
#include "gather.h"

namespace patchgate {

// ---- loops that the compiler vectorises

PG_SIMD_CLONES inline void blend_chroma(const uint8_t* upper, const uint8_t* lower,
                                        int32_t fraction, int64_t count, int16_t* out) {
  const auto b = static_cast<int16_t>(fraction), a = static_cast<int16_t>(16 - fraction);
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int16_t>(a * upper[i] + b * lower[i]);
}

// [count + 1] samples in 16ths to [count * kStep] in 64ths around mid-grey.
template <int kStep>
inline void spread(const int16_t* in, int64_t count, int16_t* out) {
  constexpr int kUnit = 4 / kStep;
  for (int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < kStep; ++k) {
      out[i * kStep + k] = static_cast<int16_t>((4 - k * kUnit) * in[i] + k * kUnit * in[i + 1] -
                                                static_cast<int>(kChromaMid));
    }
  }
}
PG_SIMD_CLONES inline void spread_1(const int16_t* in, int64_t n, int16_t* out) {
  spread<1>(in, n, out);
}
PG_SIMD_CLONES inline void spread_2(const int16_t* in, int64_t n, int16_t* out) {
  spread<2>(in, n, out);
}
PG_SIMD_CLONES inline void spread_4(const int16_t* in, int64_t n, int16_t* out) {
  spread<4>(in, n, out);
}

PG_SIMD_CLONES inline void convert_row(const uint8_t* y, const int16_t* cb, const int16_t* cr,
                                       ColourMatrix matrix, int64_t count, uint8_t* __restrict red,
                                       uint8_t* __restrict green, uint8_t* __restrict blue) {
  for (int64_t x = 0; x < count; ++x) {
    const Rgb rgb = to_rgb(y[x], cb[x], cr[x], matrix);
    red[x] = rgb.channel[0], green[x] = rgb.channel[1], blue[x] = rgb.channel[2];
  }
}

// Four rows to words of four neighbours down.
PG_SIMD_CLONES inline void zip_rows(const uint8_t* a, const uint8_t* b, const uint8_t* c,
                                    const uint8_t* d, int64_t count, uint8_t* __restrict out) {
  for (int64_t x = 0; x < count; ++x) {
    out[4 * x] = a[x], out[4 * x + 1] = b[x], out[4 * x + 2] = c[x], out[4 * x + 3] = d[x];
  }
}

// ---- rows

template <typename Sample>
class ColourRows {
 public:
  // For parts of rows of up to `most` samples.
  ColourRows(const Picture<Sample>& picture, int64_t most)
      : picture_(picture),
        step_x_(chroma_step(picture.width, picture.chroma_width)),
        step_y_(chroma_step(picture.height, picture.chroma_height)),
        most_(most),
        bytes_(2 * (most + 8)),
        blended_(most + 8),
        chroma_{std::vector<int16_t>(most + 8), std::vector<int16_t>(most + 8)} {}

  // Samples [begin, end) of row y, begin a multiple of 4.
  void row(const Sample* const planes[3], int64_t y, int64_t begin, int64_t end,
           uint8_t* const out[3]) {
    const int64_t count = end - begin;
    if (picture_.matrix == nullptr) {
      for (int c = 0; c < 3; ++c) {
        const Sample* row = planes[c] + y * picture_.stride[c] + begin;
        std::memcpy(out[c], as_8bit(row, count, 0), count);
      }
      return;
    }
    for (int c = 1; c < 3; ++c) chroma(planes[c], picture_.stride[c], y, begin, count, c - 1);
    const uint8_t* luma = as_8bit(planes[0] + y * picture_.stride[0] + begin, count, 0);
    convert_row(luma, chroma_[0].data(), chroma_[1].data(), *picture_.matrix, count, out[0], out[1],
                out[2]);
  }

 private:
  void chroma(const Sample* plane, int64_t stride, int64_t y, int64_t begin, int64_t count, int c) {
    const ChromaPlace down = chroma_down(y, step_y_, picture_.chroma_height);
    const int64_t last = picture_.chroma_width - 1;
    const int64_t from = std::min(begin / step_x_, last);
    const int64_t wanted = (count + step_x_ - 1) / step_x_ + 1;  // one more to the right
    const int64_t found = std::min(wanted, last + 1 - from);
    const uint8_t* upper = as_8bit(plane + down.first * stride + from, found, 0);
    const uint8_t* lower = as_8bit(plane + down.second * stride + from, found, 1);
    blend_chroma(upper, lower, down.fraction, found, blended_.data());
    std::fill(blended_.begin() + found, blended_.begin() + wanted, blended_[found - 1]);
    auto* spread = step_x_ == 1 ? spread_1 : step_x_ == 2 ? spread_2 : spread_4;
    spread(blended_.data(), wanted - 1, chroma_[c].data());
  }

  const uint8_t* as_8bit(const Sample* row, int64_t count, int slot) {
    if constexpr (std::is_same_v<Sample, uint8_t>) {
      return row;
    } else {
      uint8_t* copy = bytes_.data() + slot * (most_ + 8);
      row_to_8bit(row, count, picture_.bit_depth, copy);
      return copy;
    }
  }

  Picture<Sample> picture_;
  int step_x_, step_y_;
  int64_t most_;
  std::vector<uint8_t> bytes_;      // [2, most]
  std::vector<int16_t> blended_;    // [most]
  std::vector<int16_t> chroma_[2];  // [most]
};

}  // namespace patchgate
