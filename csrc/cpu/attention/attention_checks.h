// Shared parts of the ops of attention: the instruction set to use, and checks of arguments.
#pragma once

#include "cpu/attention/residual_attention.h"  // PG_ATTENTION_X86
#include "torch.h"

namespace patchgate {

// 0 portable, 1 AVX2, 2 AVX-512.
inline int64_t best_level() {
#ifdef PG_ATTENTION_X86
  if (__builtin_cpu_supports("x86-64-v4")) return 2;
  if (__builtin_cpu_supports("x86-64-v3")) return 1;
#endif
  return 0;
}

// An instruction set asked for by name.
inline void check_level(int64_t level) {
  STD_TORCH_CHECK(level >= 0 && level <= best_level(), "level: expected 0..", best_level(),
                  " on this machine, got ", level);
}

// Where groups end [G + 1] in something of so many entries.
inline void check_ends(const Tensor& ends, int64_t most, const char* name) {
  check_dense(ends, ScalarType::Int, 1, name);
  STD_TORCH_CHECK(ends.size(0) >= 1, name, ": expected [G + 1], got no entry");
  const auto* end = const_data<int32_t>(ends);
  const int64_t groups = ends.size(0) - 1;
  for (int64_t g = 0; g < groups; ++g) {
    STD_TORCH_CHECK(end[g] <= end[g + 1], name, ": expected ascending numbers, got ", end[g],
                    " before ", end[g + 1], " at ", g);
  }
  STD_TORCH_CHECK(end[0] >= 0 && end[groups] <= most, name, ": expected numbers in 0..", most,
                  ", got ", end[0], "..", end[groups]);
}

// Entries begin..end of an index [n] into the rows of another tensor.
inline void check_index(const Tensor& index, int64_t begin, int64_t end, int64_t rows,
                        const char* name, const char* of) {
  const auto* id = const_data<int64_t>(index);
  for (int64_t i = begin; i < end; ++i) {
    STD_TORCH_CHECK(id[i] >= 0 && id[i] < rows, name, ": ", id[i], " at ", i, " is not one of the ",
                    rows, " rows of ", of);
  }
}

// Rows of heads [rows, H, d] like another's, with d adjacent: anything else is copied.
inline Tensor heads_of(const Tensor& tensor, const char* name, const Tensor& like, const char* of) {
  STD_TORCH_CHECK(tensor.dim() == 3, name, ": expected [rows, H, d], got ", tensor.dim(),
                  " dimensions");
  STD_TORCH_CHECK(tensor.scalar_type() == like.scalar_type(), name, ": dtype differs from ", of,
                  "'s");
  STD_TORCH_CHECK(tensor.size(1) == like.size(1) && tensor.size(2) == like.size(2), name,
                  ": expected ", like.size(1), " heads of ", like.size(2), ", got ", tensor.size(1),
                  " of ", tensor.size(2));
  return tensor.stride(2) == 1 || tensor.size(2) <= 1 ? tensor : dense(tensor);
}

}  // namespace patchgate
