// Residual attention of many queries: keys and values of a block are packed into panels of one
// vector's lanes, and both products are blocked matrix products.
#pragma once

#include "cpu/attention/residual_attention_block.h"

namespace patchgate::PG_LEVEL {
namespace {

// c[r, v] = add[v] + factor * sum over k of a[r, k] * b[v, k] (or c[r, v] itself in place of add).
// All sums are in registers; a's rows and columns lie kRow and kColumn apart, b's vectors `panel`.
template <int kRows, int kVectors, int kRow, int kColumn, class Real>
PG_INLINE void multiply(const Real* a, const Real* b, int64_t panel, int64_t depth, Real factor,
                        const Real* add, Real* c, int64_t c_row) {
  constexpr int n = kLanes<Real>;
  Vector<Real> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Vector<Real>{};
  for (int64_t k = 0; k < depth; ++k, a += kColumn, b += n) {
    Vector<Real> column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) column[v] = load(b + v * panel);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += a[r * kRow] * column[v];
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Real* to = c + r * c_row + v * n;
      store(to, sums[r][v] * factor + load(add == nullptr ? to : add + v * n));
    }
}

// The same for up to kTile rows (a whole third of them at a time) and any number of vectors.
template <int kRow, int kColumn, class Real>
void multiply_tile(int64_t rows, int64_t vectors, const Real* a, const Real* b, int64_t panel,
                   int64_t depth, Real factor, const Real* add, Real* c, int64_t c_row) {
  constexpr int n = kLanes<Real>, kThird = kTile / 3;
  const auto run = [&]<int kRows>() {
    int64_t v = 0;
    for (; v + 2 <= vectors; v += 2)
      multiply<kRows, 2, kRow, kColumn>(a, b + v * panel, panel, depth, factor,
                                        add == nullptr ? add : add + v * n, c + v * n, c_row);
    if (v < vectors)
      multiply<kRows, 1, kRow, kColumn>(a, b + v * panel, panel, depth, factor,
                                        add == nullptr ? add : add + v * n, c + v * n, c_row);
  };
  if (rows <= kThird)
    run.template operator()<kThird>();
  else if (rows <= 2 * kThird)
    run.template operator()<2 * kThird>();
  else
    run.template operator()<kTile>();
}

template <class T>
void pack_queries(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  const auto row = [&](int64_t q) {  // past the end: any
    return a.query.at(piece.first_query + smaller(q, piece.queries - 1), piece.head);
  };
  for (int64_t q = 0; q < round_up(piece.queries, kTile); ++q) {
    const T* from = row(q);
    prefetch(row(q + kAhead), a.width);
    Work<T>* to = block.query + q / kTile * kTile * a.width + q % kTile;
    for (int64_t i = 0; i < a.width; ++i) to[i * kTile] = static_cast<Work<T>>(from[i]);
  }
}

template <class T>
void pack_keys(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  using Real = Work<T>;
  constexpr int n = kLanes<Real>;
  for (int64_t k = 0; k < piece.keys; k += n) {
    const T* rows[n];  // of a last panel that is not full the last row is repeated
    for (int j = 0; j < n; ++j) rows[j] = key_row(a, piece, k + j);
    for (int j = 0; j < n; ++j) prefetch(key_row(a, piece, k + n + j), a.width);
    Real* to = block.key + k * a.width;
    for (int64_t i = 0; i < a.width; i += n) {
      const int64_t some = smaller(n, a.width - i);
      Vector<Real> lines[n];
      for (int j = 0; j < n; ++j) lines[j] = load_up_to(rows[j] + i, some);
      transpose<Real>(lines);
      for (int64_t j = 0; j < some; ++j) store(to + (i + j) * n, lines[j]);
    }
  }
}

template <class T>
void pack_values(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  constexpr int n = kLanes<Work<T>>;
  for (int64_t k = 0; k < piece.keys; ++k) {
    const T* row = value_row(a, piece, k);
    prefetch(value_row(a, piece, k + kAhead), a.width);
    for (int64_t i = 0; i < a.width; i += n)
      store(block.value + i * piece.keys + k * n, load_up_to(row + i, smaller(n, a.width - i)));
  }
}

// One block of keys; pack_queries came before.
template <class T>
void attend_many(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  using Real = Work<T>;
  constexpr int n = kLanes<Real>;
  pack_keys(a, piece, block);
  pack_values(a, piece, block);
  const auto scale = static_cast<Real>(a.scale);
  for (int64_t first = 0; first < piece.queries; first += kTile) {
    const int64_t queries = smaller(kTile, piece.queries - first);
    multiply_tile<1, kTile>(queries, round_up(piece.keys, n) / n, block.query + first * a.width,
                            block.key, a.width * n, a.width, scale, block.bias, block.scores,
                            kScoreStride);
    softmax(block, first, queries, piece.keys);
    multiply_tile<kScoreStride, 1>(
        queries, block.wide / n, block.scores, block.value, piece.keys * n, piece.keys, Real(1),
        static_cast<const Real*>(nullptr), block.sums + first * block.wide, block.wide);
  }
}

}  // namespace
}  // namespace patchgate::PG_LEVEL
