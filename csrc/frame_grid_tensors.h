// frame_grid's tensors, checked alike on the CPU and on CUDA.
#pragma once

#include "torch.h"

namespace patchgate {

struct FrameGridTensors {
  Tensor planes[3];  // y [T, H', W'], cb cr [T, H'', W'']
  Tensor taps_x[3];  // [W, 1 + taps] of each plane
  Tensor taps_y[3];  // [H, 1 + taps]
  bool eight_bit;
  int bit_depth;
  Tensor out;  // [T, 3, H, W]

  FrameGridTensors(const Tensor& y, const Tensor& cb, const Tensor& cr, const Tensor& luma_x,
                   const Tensor& luma_y, const Tensor& chroma_x, const Tensor& chroma_y,
                   int64_t depth)
      : planes{y, cb, cr},
        taps_x{luma_x, chroma_x, chroma_x},
        taps_y{luma_y, chroma_y, chroma_y},
        eight_bit(y.scalar_type() == ScalarType::Byte),
        bit_depth(static_cast<int>(depth)) {
    STD_TORCH_CHECK(
        eight_bit ? depth == 8 : y.scalar_type() == ScalarType::UInt16 && depth > 8 && depth <= 16,
        "frame_grid: expected uint8 planes of 8 bit or uint16 planes of 9 to 16 bit");
    for (int c = 0; c < 3; ++c) {
      const Tensor& plane = planes[c];
      check_dims(plane, 3, kNames[c]);
      check_dtype(plane, y.scalar_type(), kNames[c]);
      STD_TORCH_CHECK(plane.size(0) == y.size(0), kNames[c], ": ", plane.size(0), " frames, y has ",
                      y.size(0));
      for (const Tensor* table : {&taps_x[c], &taps_y[c]}) {
        check_dense(*table, ScalarType::Int, 2, kNames[c]);
        STD_TORCH_CHECK(table->size(1) >= 2, kNames[c], ": expected [out, 1 + taps], got no taps");
      }
    }
    STD_TORCH_CHECK(
        luma_x.size(0) == chroma_x.size(0) && luma_y.size(0) == chroma_y.size(0),
        "frame_grid: the tap tables of luma and chroma are for outputs of different sizes");
    out = empty_like_device(y, {y.size(0), 3, luma_y.size(0), luma_x.size(0)}, ScalarType::Byte);
  }

  static constexpr const char* kNames[] = {"y", "cb", "cr"};
};

}  // namespace patchgate
