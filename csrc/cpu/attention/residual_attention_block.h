// Shared parts of both ways to attend: a block of queries and keys in scratch memory, and softmax
// over the blocks of keys with a running maximum and sum (Milakov and Gimelshein, arXiv
// 1805.02867).
#pragma once

#include "cpu/attention/residual_attention_vector.h"

namespace patchgate::PG_LEVEL {
namespace {

constexpr int64_t kBlockQueries = 512, kBlockKeys = 512;  // what is packed fits a core's L2 cache
constexpr int kTile = PG_VECTOR_BYTES == 64 ? 12 : 6;     // queries whose sums stay in registers
constexpr int64_t kScoreStride = kBlockKeys + 16;  // no power of two: rows share no cache set
constexpr int64_t kAhead = 16;                     // rows asked for before they are read

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// D is d rounded up to whole vectors, n the lanes of one.
template <class Real>
struct Block {
  static constexpr int n = kLanes<Real>;
  int64_t width, wide;    // d, D
  int64_t queries, keys;  // at most so many, in whole tiles and vectors
  Real* query;            // many: [queries / kTile, d, kTile]; few: [queries, D]
  Real* key;              // many: [keys / n, d, n]; few: [n, D]
  Real* value;            // many: [D / n, keys, n]
  Real* bias;             // [keys]; -inf past the end
  Real* scores;           // [kTile, kScoreStride]
  Real* sums;             // [queries, D]: weighted sums of values so far
  Real* most;             // [queries]: largest score so far
  Real* total;            // [queries]: sum of exp(score - most) so far

  Block(int64_t most_queries, int64_t most_keys, int64_t width, Real* memory)
      : width(width),
        wide(round_up(width, n)),
        queries(round_up(smaller(most_queries, kBlockQueries), kTile)),
        keys(round_up(smaller(most_keys, kBlockKeys), n)),
        query(memory),
        key(query + round_up(queries * wide, n)),
        value(key + keys * wide),
        bias(value + keys * wide),
        scores(bias + keys),
        sums(scores + kTile * kScoreStride),
        most(sums + queries * wide),
        total(most + queries) {}

  int64_t size() const { return total + queries - query; }

  void clear(int64_t used) {
    used = round_up(used, kTile);  // sums of a whole tile are added to
    for (int64_t i = 0; i < used * wide; ++i) sums[i] = 0;
    for (int64_t i = 0; i < used; ++i) most[i] = -INFINITY, total[i] = 0;
  }
};

template <class T>
void copy_bias(const Attention<T>& a, const Piece& piece, Block<Work<T>>& block) {
  for (int64_t k = 0; k < round_up(piece.keys, block.n); ++k) {
    const bool past = k >= piece.keys;
    block.bias[k] = past ? -INFINITY : a.bias == nullptr ? 0 : a.bias[piece.first_key + k];
  }
}

template <class T>
PG_INLINE const T* key_row(const Attention<T>& a, const Piece& piece, int64_t k) {
  return a.key.at(a.key_index[piece.first_key + smaller(k, piece.keys - 1)], piece.head);
}

template <class T>
PG_INLINE const T* value_row(const Attention<T>& a, const Piece& piece, int64_t k) {
  return a.value.at(a.key_index[piece.first_key + smaller(k, piece.keys - 1)], piece.head);
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

// Softmax of the scores of queries first..first + queries of the block.
template <class Real>
void softmax(Block<Real>& block, int64_t first, int64_t queries, int64_t keys) {
  for (int64_t q = 0; q < queries; ++q) {
    const Real factor = softmax_row(block.scores + q * kScoreStride, round_up(keys, block.n),
                                    block.most[first + q], block.total[first + q]);
    if (factor == 1) continue;
    Real* sums = block.sums + (first + q) * block.wide;
    for (int64_t i = 0; i < block.wide; ++i) sums[i] *= factor;
  }
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

}  // namespace
}  // namespace patchgate::PG_LEVEL
