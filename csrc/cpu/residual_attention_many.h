// Residual attention of many queries: keys and values are packed into panels of one vector's lanes
// in float, a block of keys at a time, and both products are blocked matrix products. Softmax goes
// over the blocks with a running maximum and sum (Milakov and Gimelshein, arXiv 1805.02867).
#pragma once

#include "cpu/residual_attention_vector.h"

namespace patchgate::PG_LEVEL {
namespace {

constexpr int64_t kBlockQueries = 512, kBlockKeys = 512;  // what is packed fits a core's L2 cache
constexpr int kTile = PG_VECTOR_BYTES == 64 ? 12 : 6;     // queries whose sums stay in registers
constexpr int64_t kScoreStride = kBlockKeys + 16;  // no power of two: rows share no cache set

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// One block's memory; d is rounded up to whole vectors (D) in all of it but the keys.
template <class Real>
struct Panels {
  static constexpr int n = kLanes<Real>;
  int64_t width, queries, keys, wide;  // d; at most so many; D
  Real* query;                         // [queries / kTile, d, kTile], scaled
  Real* key;                           // [keys / n, d, n]
  Real* value;                         // [D / n, keys, n]
  Real* start;   // [keys]: what scores start from: the bias; -inf past the end
  Real* scores;  // [kTile, kScoreStride]
  Real* sums;    // [queries, D]: weighted sums of values so far
  Real* most;    // [queries]: largest score so far
  Real* total;   // [queries]: sum of exp(score - most) so far

  Panels(int64_t most_queries, int64_t most_keys, int64_t width, Real* memory)
      : width(width),
        queries(round_up(smaller(most_queries, kBlockQueries), kTile)),
        keys(round_up(smaller(most_keys, kBlockKeys), n)),
        wide(round_up(width, n)),
        query(memory),
        key(query + queries * round_up(width, n)),
        value(key + keys * wide),
        start(value + keys * wide),
        scores(start + keys),
        sums(scores + kTile * kScoreStride),
        most(sums + queries * wide),
        total(most + queries) {}

  int64_t size() const { return total + queries - query; }
};

// c[r, v] = start[v] (or c[r, v] itself) + sum over k of a[r, k] * b[v, k], all sums in registers.
// a's rows and columns lie kRow and kColumn apart; b's vectors lie `panel` apart.
template <int kRows, int kVectors, int kRow, int kColumn, class Real>
PG_INLINE void multiply(const Real* a, const Real* b, int64_t panel, int64_t depth,
                        const Real* start, Real* c, int64_t c_row) {
  constexpr int n = kLanes<Real>;
  Vector<Real> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = load(start == nullptr ? c + r * c_row + v * n : start + v * n);
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
    for (int v = 0; v < kVectors; ++v) store(c + r * c_row + v * n, sums[r][v]);
}

// The same for up to kTile rows (a whole third of them at a time) and any number of vectors.
template <int kRow, int kColumn, class Real>
void multiply_tile(int64_t rows, int64_t vectors, const Real* a, const Real* b, int64_t panel,
                   int64_t depth, const Real* start, Real* c, int64_t c_row) {
  constexpr int n = kLanes<Real>, kThird = kTile / 3;
  const auto run = [&]<int kRows>() {
    int64_t v = 0;
    for (; v + 2 <= vectors; v += 2)
      multiply<kRows, 2, kRow, kColumn>(a, b + v * panel, panel, depth,
                                        start == nullptr ? start : start + v * n, c + v * n, c_row);
    if (v < vectors)
      multiply<kRows, 1, kRow, kColumn>(a, b + v * panel, panel, depth,
                                        start == nullptr ? start : start + v * n, c + v * n, c_row);
  };
  if (rows <= kThird)
    run.template operator()<kThird>();
  else if (rows <= 2 * kThird)
    run.template operator()<2 * kThird>();
  else
    run.template operator()<kTile>();
}

template <class T>
void pack_queries(const Attention<T>& a, int64_t head, int64_t first, int64_t queries,
                  Panels<Work<T>>& panels) {
  const auto scale = static_cast<Work<T>>(a.scale);
  for (int64_t q = 0; q < round_up(queries, kTile); ++q) {
    Work<T>* to = panels.query + q / kTile * kTile * a.width + q % kTile;
    const T* from = a.query.at(first + smaller(q, queries - 1), head);  // rows past the end: any
    for (int64_t i = 0; i < a.width; ++i) to[i * kTile] = static_cast<Work<T>>(from[i]) * scale;
  }
}

template <class T>
void pack_keys(const Attention<T>& a, int64_t head, int64_t first, int64_t keys,
               Panels<Work<T>>& panels) {
  using Real = Work<T>;
  constexpr int n = kLanes<Real>;
  for (int64_t k = 0; k < keys; k += n) {
    const T* rows[n];  // of a last panel that is not full the last row is repeated
    for (int j = 0; j < n; ++j)
      rows[j] = a.key.at(a.key_index[first + smaller(k + j, keys - 1)], head);
    Real* to = panels.key + k * a.width;
    for (int64_t i = 0; i < a.width; i += n) {
      const int64_t some = smaller(n, a.width - i);
      Vector<Real> block[n];
      for (int j = 0; j < n; ++j)
        block[j] = some == n ? load(rows[j] + i) : load_some(rows[j] + i, some);
      transpose<Real>(block);
      for (int64_t j = 0; j < some; ++j) store(to + (i + j) * n, block[j]);
    }
  }
  for (int64_t k = 0; k < round_up(keys, n); ++k) {
    const Real bias = a.bias == nullptr || k >= keys ? 0 : a.bias[first + k];
    panels.start[k] = k < keys ? bias : -INFINITY;
  }
}

template <class T>
void pack_values(const Attention<T>& a, int64_t head, int64_t first, int64_t keys,
                 Panels<Work<T>>& panels) {
  constexpr int n = kLanes<Work<T>>;
  for (int64_t k = 0; k < keys; ++k) {
    const T* row = a.value.at(a.key_index[first + k], head);
    for (int64_t i = 0; i < a.width; i += n) {
      const int64_t some = smaller(n, a.width - i);
      store(panels.value + i * keys + k * n, some == n ? load(row + i) : load_some(row + i, some));
    }
  }
}

// Scores to exp(score - most), with the running maximum and sum of the row, and what the sums so
// far must be multiplied with. Where all scores are -inf, weights are 0.
template <class Real>
PG_INLINE Real softmax_row(Real* scores, int64_t keys, Real& most, Real& total) {
  constexpr int n = kLanes<Real>;
  Vector<Real> most_lanes = load(scores);
  for (int64_t k = n; k < keys; k += n) most_lanes = larger<Real>(most_lanes, load(scores + k));
  const Real block_most = largest<Real>(most_lanes);
  const Real new_most = block_most > most ? block_most : most;
  const Real shift = new_most == -INFINITY ? 0 : new_most;
  Vector<Real> total_lanes{};
  for (int64_t k = 0; k < keys; k += n) {
    const Vector<Real> weight = exp(load(scores + k) - shift);
    total_lanes += weight;
    store(scores + k, weight);
  }
  const Real factor = std::exp(most - shift);
  total = total * factor + sum<Real>(total_lanes);
  most = new_most;
  return factor;
}

template <class Real>
void attend_tile(Panels<Real>& panels, int64_t first, int64_t queries, int64_t keys) {
  constexpr int n = kLanes<Real>;
  const int64_t padded = round_up(keys, n);
  multiply_tile<1, kTile>(queries, padded / n, panels.query + first * panels.width, panels.key,
                          panels.width * n, panels.width, panels.start, panels.scores,
                          kScoreStride);
  Real* sums = panels.sums + first * panels.wide;
  for (int64_t q = 0; q < queries; ++q) {
    const Real factor = softmax_row(panels.scores + q * kScoreStride, padded,
                                    panels.most[first + q], panels.total[first + q]);
    if (factor == 1) continue;
    for (int64_t i = 0; i < panels.wide; ++i) sums[q * panels.wide + i] *= factor;
  }
  multiply_tile<kScoreStride, 1>(queries, panels.wide / n, panels.scores, panels.value, keys * n,
                                 keys, static_cast<const Real*>(nullptr), sums, panels.wide);
}

// Weighted sums to averages, in the dtype of the output.
template <class T, class Real>
void write_query(const Attention<T>& a, int64_t query, int64_t head, const Real* sums, Real most,
                 Real total) {
  const int64_t row = query * a.heads + head;
  const Real inverse = total == 0 ? 0 : 1 / total;
  T* out = a.out + row * a.width;
  for (int64_t i = 0; i < a.width; ++i) out[i] = static_cast<T>(sums[i] * inverse);
  a.lse[row] = total == 0 ? -INFINITY : most + std::log(total);
}

template <class T>
void attend_many(const Attention<T>& a, const Piece& piece, Work<T>* scratch) {
  Panels<Work<T>> panels(piece.queries, piece.keys, a.width, scratch);
  for (int64_t q = 0; q < piece.queries; q += kBlockQueries) {
    const int64_t first = piece.first_query + q,
                  queries = smaller(kBlockQueries, piece.queries - q);
    pack_queries(a, piece.head, first, queries, panels);
    for (int64_t i = 0; i < panels.queries * panels.wide; ++i) panels.sums[i] = 0;
    for (int64_t i = 0; i < panels.queries; ++i) panels.most[i] = -INFINITY, panels.total[i] = 0;
    for (int64_t k = 0; k < piece.keys; k += kBlockKeys) {
      const int64_t keys = smaller(kBlockKeys, piece.keys - k);
      pack_keys(a, piece.head, piece.first_key + k, keys, panels);
      pack_values(a, piece.head, piece.first_key + k, keys, panels);
      for (int64_t i = 0; i < queries; i += kTile)
        attend_tile(panels, i, smaller(kTile, queries - i), keys);
    }
    for (int64_t i = 0; i < queries; ++i)
      write_query(a, first + i, piece.head, panels.sums + i * panels.wide, panels.most[i],
                  panels.total[i]);
  }
}

}  // namespace
}  // namespace patchgate::PG_LEVEL
