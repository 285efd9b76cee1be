// The kernel of the level that includes this. Head after head: its exchanged keys are packed, lanes
// of keys side by side, and stay in the cache while a few tokens at a time go by.
#pragma once

#include "cpu/attention/exchange.h"
#include "cpu/attention/residual_attention_vector.h"

namespace patchgate::PG_LEVEL {
namespace {

constexpr int kTokens = 4;                                    // that share what is loaded
constexpr int kValueVectors = PG_VECTOR_BYTES == 64 ? 4 : 2;  // of a token's sums, in registers

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// A piece's scratch memory. C is c rounded up to whole vectors, n the lanes of one.
template <class Real>
struct Bench {
  static constexpr int n = kLanes<Real>;
  int64_t wide;   // C
  Real* key;      // [C / n, d, n]; 0 past the end
  Real* weight;   // [C]; 0 past the end
  Real* factors;  // [kTokens, C]: what each value is added with
  Real* moved;    // [tokens, n]: squares of what the tokens moved by, to be added up

  Bench(int64_t tokens, int64_t keys, int64_t width, Real* memory)
      : wide(round_up(keys, n)),
        key(memory),
        weight(key + wide * width),
        factors(weight + wide),
        moved(factors + kTokens * wide) {}

  int64_t size(int64_t tokens) const { return moved + tokens * n - key; }
};

template <class Real>
void pack_keys(const Exchange<Real>& e, const ExchangePiece& piece, int64_t head,
               Bench<Real>& bench) {
  constexpr int n = kLanes<Real>;
  for (int64_t k = 0; k < piece.keys; k += n) {
    for (int64_t i = 0; i < e.width; i += n) {
      const int64_t some = e.width - i < n ? e.width - i : n;
      Vector<Real> lines[n];
      for (int j = 0; j < n; ++j) {
        lines[j] = Vector<Real>{};
        if (k + j < piece.keys)
          lines[j] = load_up_to(e.key.at(e.changed[piece.first_key + k + j], head) + i, some);
      }
      transpose<Real>(lines);
      for (int64_t j = 0; j < some; ++j) store(bench.key + k * e.width + (i + j) * n, lines[j]);
    }
  }
}

// A few tokens in one head.
template <class Real>
struct Tile {
  const Real* query[kTokens];  // [d]
  Real* total[kTokens];
  Real shift[kTokens];
  int64_t sums[kTokens];  // where a token's row begins in weighted and reference
  int64_t first;          // of the piece's tokens
};

template <int kRows, class Real>
PG_INLINE Tile<Real> tile_at(const Exchange<Real>& e, const ExchangePiece& piece, int64_t head,
                             int64_t first) {
  Tile<Real> tile;
  tile.first = first;
  for (int r = 0; r < kRows; ++r) {
    const int64_t i = piece.first_token + first + r, at = e.token[i] * e.heads + head;
    tile.query[r] = e.query.at(e.row[i], head);
    tile.total[r] = e.total + at;
    tile.shift[r] = e.shift[at];
    tile.sums[r] = at * e.width;
  }
  return tile;
}

// What kVectors vectors of keys from k on change in the denominators, and the factors of values.
template <int kRows, int kVectors, class Real>
PG_INLINE void score(const Exchange<Real>& e, const Tile<Real>& tile, Bench<Real>& bench, int64_t k,
                     Vector<Real> (&totals)[kTokens]) {
  constexpr int n = kLanes<Real>;
  Vector<Real> scores[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) scores[r][v] = Vector<Real>{};
  const Real* key = bench.key + k * e.width;
  for (int64_t i = 0; i < e.width; ++i, key += n) {
    Vector<Real> column[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) column[v] = load(key + v * n * e.width);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) scores[r][v] += tile.query[r][i] * column[v];
  }
  const auto scale = static_cast<Real>(e.scale), most = static_cast<Real>(kMostExponent);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Vector<Real> exponent = scores[r][v] * scale - tile.shift[r];
      // exp is as exact up to this bound as it is below 0. A NaN stays one.
      const Vector<Real> factor =
          exp(exponent > most ? splat(most) : exponent) * load(bench.weight + k + v * n);
      store(bench.factors + r * bench.wide + k + v * n, factor);
      totals[r] += factor;
    }
}

// The numerators and what they move by, kVectors vectors of them (or part of one) from column i on.
template <int kRows, int kVectors, bool kPart, class Real>
PG_INLINE void weigh(const Exchange<Real>& e, const ExchangePiece& piece, int64_t head,
                     const Tile<Real>& tile, Bench<Real>& bench, int64_t i) {
  constexpr int n = kLanes<Real>;
  const int64_t some = e.width - i;
  const Real gain = e.reach[head] * e.reach[head];
  const auto read = [&](const Real* from) { return kPart ? load_some(from, some) : load(from); };
  Vector<Real> sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Vector<Real>{};  // small numbers first
  for (int64_t k = 0; k < piece.keys; ++k) {
    const Real* row = e.value.at(e.changed[piece.first_key + k], head) + i;
    Vector<Real> column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) column[v] = read(row + v * n);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] += bench.factors[r * bench.wide + k] * column[v];
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const Real inverse = 1 / *tile.total[r];
    Real* moved = bench.moved + (tile.first + r) * n;
    Vector<Real> moves = load(moved);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Real* to = e.weighted + tile.sums[r] + i + v * n;
      sums[r][v] += read(to);
      if constexpr (kPart)
        std::memcpy(to, &sums[r][v], some * sizeof(Real));
      else
        store(to, sums[r][v]);
      const Vector<Real> reference = read(e.reference + tile.sums[r] + i + v * n);
      const Vector<Real> move = sums[r][v] * inverse - reference;
      moves += gain * (move * move);
    }
    store(moved, moves);
  }
}

template <int kRows, class Real>
void exchange_tile(const Exchange<Real>& e, const ExchangePiece& piece, int64_t head, int64_t first,
                   Bench<Real>& bench) {
  constexpr int n = kLanes<Real>;
  const Tile<Real> tile = tile_at<kRows>(e, piece, head, first);
  Vector<Real> totals[kTokens] = {};
  int64_t k = 0;
  for (; k + 2 * n <= bench.wide; k += 2 * n) score<kRows, 2>(e, tile, bench, k, totals);
  if (k < bench.wide) score<kRows, 1>(e, tile, bench, k, totals);
  for (int r = 0; r < kRows; ++r) *tile.total[r] += sum<Real>(totals[r]);
  int64_t i = 0;
  for (; i + kValueVectors * n <= e.width; i += kValueVectors * n)
    weigh<kRows, kValueVectors, false>(e, piece, head, tile, bench, i);
  for (; i + n <= e.width; i += n) weigh<kRows, 1, false>(e, piece, head, tile, bench, i);
  if (i < e.width) weigh<kRows, 1, true>(e, piece, head, tile, bench, i);
}

// How far each token moved, over all heads.
template <class Real>
void measure(const Exchange<Real>& e, const ExchangePiece& piece, const Bench<Real>& bench) {
  constexpr int n = kLanes<Real>;
  for (int64_t t = 0; t < piece.tokens; ++t) {
    const int64_t i = piece.first_token + t;
    const Real* total = e.total + e.token[i] * e.heads;
    bool trust = true;
    for (int64_t h = 0; h < e.heads; ++h)
      trust = trust && total[h] > Real(kLeastTotal) && total[h] < Real(kMostTotal);
    e.moved[i] = trust ? __builtin_sqrt(sum<Real>(load(bench.moved + t * n))) : NAN;
  }
}

template <class Real>
void exchange(const Exchange<Real>& e, const ExchangePiece& piece, Real* scratch) {
  Bench<Real> bench(piece.tokens, piece.keys, e.width, scratch);
  for (int64_t k = 0; k < bench.wide; ++k)
    bench.weight[k] = k < piece.keys ? e.weight[piece.first_key + k] : 0;
  for (int64_t i = 0; i < piece.tokens * bench.n; ++i) bench.moved[i] = 0;
  for (int64_t head = 0; head < e.heads; ++head) {
    pack_keys(e, piece, head, bench);
    int64_t t = 0;
    for (; t + kTokens <= piece.tokens; t += kTokens)
      exchange_tile<kTokens>(e, piece, head, t, bench);
    for (; t < piece.tokens; ++t) exchange_tile<1>(e, piece, head, t, bench);
  }
  measure(e, piece, bench);
}

template <class Real>
int64_t scratch_size(int64_t tokens, int64_t keys, int64_t width) {
  return Bench<Real>(tokens, keys, width, nullptr).size(tokens);
}

}  // namespace

template <class Real>
ExchangeKernel<Real> exchange_kernel() {
  return {scratch_size<Real>, exchange<Real>};
}

template ExchangeKernel<float> exchange_kernel();
template ExchangeKernel<double> exchange_kernel();

}  // namespace patchgate::PG_LEVEL
