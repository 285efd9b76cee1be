// The arguments of the kernels of exchange, which are built once per instruction set.
//
// Letters: M tokens, n stale ones, r rows of queries, keys and values, c exchanged keys, H heads,
// d features of a head.
#pragma once

#include "cpu/attention/residual_attention.h"

namespace patchgate {

// A weight is at most exp(80): so far above the shift the sums are useless anyway, and infinity
// must not meet infinity.
constexpr double kMostExponent = 80;

// Between these a denominator can be trusted: it starts at 1, and where most of it was taken out,
// what is left is mostly rounding. A NaN is not between them.
constexpr double kLeastTotal = 0.25, kMostTotal = 4;

template <class Real>
struct Exchange {
  Real* weighted;                    // [M, H, d]
  Real* total;                       // [M, H]
  const Real* shift;                 // [M, H]
  const Real* reference;             // [M, H, d]
  const int64_t* token;              // [n]: of M
  HeadRows<Real> query, key, value;  // [r, H, d]
  const int64_t* row;                // [n]: of query
  const int64_t* changed;            // [c]: of key and value
  const Real* weight;                // [c]
  const Real* reach;                 // [H]
  Real* moved;                       // [n]
  int64_t heads, width;              // H, d
  double scale;
};

// Some tokens of one group, and the keys that all of them exchange.
struct ExchangePiece {
  int64_t first_token, tokens;  // of n
  int64_t first_key, keys;      // of c
};

template <class Real>
struct ExchangeKernel {
  ScratchSize scratch_size;
  void (*exchange)(const Exchange<Real>&, const ExchangePiece&, Real* scratch);
};

// One of each per level; Real is float or double.
#define PG_EXCHANGE_LEVEL(level)          \
  namespace level {                       \
  template <class Real>                   \
  ExchangeKernel<Real> exchange_kernel(); \
  }
PG_EXCHANGE_LEVEL(portable)
PG_EXCHANGE_LEVEL(avx2)
PG_EXCHANGE_LEVEL(avx512)
#undef PG_EXCHANGE_LEVEL

}  // namespace patchgate
