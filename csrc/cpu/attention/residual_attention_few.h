// Residual attention of few queries: packing would cost more than the products. Keys and values are
// read where they lie; a score is a dot product along d.
#pragma once

#include "cpu/attention/residual_attention_block.h"

namespace patchgate::PG_LEVEL {
namespace {

constexpr int64_t kFew = kTile / 2;                           // queries that do not repay packing
constexpr int kValueVectors = PG_VECTOR_BYTES == 64 ? 4 : 2;  // of a row's sums, in registers

template <class T>
void copy_row(const T* from, int64_t width, Work<T>* to) {
  constexpr int n = kLanes<Work<T>>;
  for (int64_t i = 0; i < width; i += n) store(to + i, load_up_to(from + i, smaller(n, width - i)));
}

template <class T>
void copy_queries(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  for (int64_t q = 0; q < piece.queries; ++q)
    copy_row(a.query.at(piece.first_query + q, piece.head), a.width, block.query + q * block.wide);
}

// One vector's lanes of keys at a time, against each query.
template <class T>
void score_few(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  using Real = Work<T>;
  constexpr int n = kLanes<Real>;
  const auto scale = static_cast<Real>(a.scale);
  for (int64_t k = 0; k < piece.keys; k += n) {
    const Real* rows[n];
    for (int j = 0; j < n; ++j) {
      const T* row = key_row(a, piece, k + j);  // past the end: the last one, and a bias of -inf
      prefetch(key_row(a, piece, k + n + j), a.width);
      rows[j] = block.key + j * block.wide;
      if constexpr (std::is_same_v<T, Real>) {
        if (block.wide == a.width) {
          rows[j] = row;
          continue;
        }
      }
      copy_row(row, a.width, block.key + j * block.wide);
    }
    for (int64_t q = 0; q < piece.queries; ++q) {
      const Real* query = block.query + q * block.wide;
      Vector<Real> dots[n];
#pragma GCC unroll 16
      for (int j = 0; j < n; ++j) dots[j] = Vector<Real>{};  // not = {}: that goes through memory
      for (int64_t i = 0; i < block.wide; i += n) {
        const Vector<Real> part = load(query + i);
#pragma GCC unroll 16
        for (int j = 0; j < n; ++j) dots[j] += part * load(rows[j] + i);
      }
      store(block.scores + q * kScoreStride + k, sums<Real>(dots) * scale + load(block.bias + k));
    }
  }
}

// Adds the weighted values of kRows queries, kVectors vectors of them from column i on.
template <int kRows, int kVectors, class T>
PG_INLINE void weigh(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block, int64_t q,
                     int64_t i) {
  using Real = Work<T>;
  constexpr int n = kLanes<Real>;
  Vector<Real> sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Vector<Real>{};
  const Real* weights = block.scores + q * kScoreStride;
  const int64_t last = smaller(n, a.width - i - (kVectors - 1) * n);  // columns of the last vector
  for (int64_t k = 0; k < piece.keys; ++k) {
    const T* row = value_row(a, piece, k) + i;
    prefetch(value_row(a, piece, k + kAhead) + i, kVectors * n);
    Vector<Real> column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      column[v] = v + 1 < kVectors ? load(row + v * n) : load_up_to(row + v * n, last);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += weights[r * kScoreStride + k] * column[v];
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Real* to = block.sums + (q + r) * block.wide + i + v * n;
      store(to, load(to) + sums[r][v]);
    }
}

template <int kRows, class T>
void weigh_rows(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block, int64_t q) {
  constexpr int n = kLanes<Work<T>>;
  int64_t i = 0;
  for (; i + (kValueVectors - 1) * n < block.wide; i += kValueVectors * n)
    weigh<kRows, kValueVectors>(a, piece, block, q, i);
  for (; i < block.wide; i += n) weigh<kRows, 1>(a, piece, block, q, i);
}

// One block of keys; copy_queries came before.
template <class T>
void attend_few(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  score_few(a, piece, block);
  softmax(block, 0, piece.queries, piece.keys);
  int64_t q = 0;
  for (; q + 4 <= piece.queries; q += 4) weigh_rows<4>(a, piece, block, q);
  if (piece.queries - q == 3) weigh_rows<3>(a, piece, block, q);
  if (piece.queries - q == 2) weigh_rows<2>(a, piece, block, q);
  if (piece.queries - q == 1) weigh_rows<1>(a, piece, block, q);
}

}  // namespace
}  // namespace patchgate::PG_LEVEL
