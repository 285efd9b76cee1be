// The arguments of the kernels of residual attention, which are built once per instruction set.
//
// Letters: R queries, A rows of keys and values, L keys of all groups, H heads, d features of a
// head.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <type_traits>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PG_ATTENTION_X86  // the levels avx2 and avx512 are built
#endif

namespace patchgate {

// Rows of heads, [rows, H, d], d adjacent.
template <class T>
struct HeadRows {
  const T* data;
  int64_t row_stride, head_stride;

  const T* at(int64_t row, int64_t head) const {
    return data + row * row_stride + head * head_stride;
  }
};

// What numbers of type T are computed in.
template <class T>
using Work = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
struct Attention {
  HeadRows<T> query;         // [R, H, d]
  HeadRows<T> key, value;    // [A, H, d]
  const int64_t* key_index;  // [L]
  const float* bias;         // [L] or null
  T* out;                    // [R, H, d]
  Work<T>* lse;              // [R, H]
  int64_t heads, width;      // H, d
  double scale;
};

// Some queries of one group, in one head.
struct Piece {
  int64_t head;
  int64_t first_query, queries;  // of R
  int64_t first_key, keys;       // of L
  int64_t group_queries;         // decides how it is computed: threads must not change results
};

// Numbers of scratch memory that pieces of at most so many queries and keys need.
using ScratchSize = int64_t (*)(int64_t queries, int64_t keys, int64_t width);

template <class T>
using Attend = void (*)(const Attention<T>&, const Piece&, Work<T>* scratch);

template <class T>
struct AttentionKernel {
  ScratchSize scratch_size;
  Attend<T> attend;
};

// One of each per level; T is float, double, c10::BFloat16 or c10::Half.
#define PG_ATTENTION_LEVEL(level)        \
  namespace level {                      \
  template <class T>                     \
  AttentionKernel<T> attention_kernel(); \
  }
PG_ATTENTION_LEVEL(portable)
PG_ATTENTION_LEVEL(avx2)
PG_ATTENTION_LEVEL(avx512)
#undef PG_ATTENTION_LEVEL

}  // namespace patchgate
