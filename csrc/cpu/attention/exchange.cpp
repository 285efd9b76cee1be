// Exchange on the CPU: checks, threads, and the choice of an instruction set.
#include "cpu/attention/exchange.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/attention/attention_checks.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr int64_t kWorkGrain = 1 << 16;  // numbers of numerators and products that repay a thread
constexpr int64_t kFewTokens = 1 << 16;  // to be remembered, a bit each
constexpr int64_t kOwn = 8;  // a token's own numbers are read and written: as dear as so many keys

template <class Real>
ExchangeKernel<Real> exchange_kernel([[maybe_unused]] int64_t level) {
#ifdef PG_ATTENTION_X86
  if (level == 2) return avx512::exchange_kernel<Real>();
  if (level == 1) return avx2::exchange_kernel<Real>();
#endif
  return portable::exchange_kernel<Real>();
}

// Where the tokens and the keys of each group end.
struct GroupEnds {
  const int32_t *tokens, *keys;  // [G + 1]
  int64_t groups;

  // The groups of tokens begin..end, each as f(piece).
  template <class F>
  void pieces(int64_t begin, int64_t end, F f) const {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t from = std::max<int64_t>(begin, tokens[g]);
      const int64_t to = std::min<int64_t>(end, tokens[g + 1]);
      if (from < to) f(ExchangePiece{from, to - from, keys[g], keys[g + 1] - keys[g]});
    }
  }
};

template <class Real>
void exchange_all(const Exchange<Real>& e, const GroupEnds& ends, int64_t level) {
  const ExchangeKernel<Real> kernel = exchange_kernel<Real>(level);
  const int64_t n = ends.tokens[ends.groups];
  int64_t work = 0;
  ends.pieces(0, n, [&](const ExchangePiece& p) { work += p.tokens * (p.keys + kOwn); });
  const int64_t each = work / std::max<int64_t>(1, n) * e.heads * e.width;  // a token's work
  torch::stable::parallel_for(0, n, kWorkGrain / (each + 1) + 1, [&](int64_t begin, int64_t end) {
    int64_t numbers = 0;
    ends.pieces(begin, end, [&](const ExchangePiece& p) {
      numbers = std::max(numbers, kernel.scratch_size(p.tokens, p.keys, e.width));
    });
    const auto scratch = std::make_unique_for_overwrite<Real[]>(numbers);
    ends.pieces(begin, end, [&](const ExchangePiece& p) { kernel.exchange(e, p, scratch.get()); });
  });
}

// ---- checks

// Where groups end that cover all of something.
void check_all_ends(const Tensor& ends, int64_t last, const char* name) {
  check_ends(ends, last, name);
  const auto* end = const_data<int32_t>(ends);
  STD_TORCH_CHECK(end[0] == 0 && end[ends.size(0) - 1] == last, name,
                  ": expected ascending numbers from 0 to ", last);
}

void check_whole_index(const Tensor& index, int64_t rows, const char* name, const char* of) {
  check_dense(index, ScalarType::Long, 1, name);
  check_index(index, 0, index.numel(), rows, name, of);
}

// Threads would write a token that is named twice at the same time.
void check_once(const Tensor& token, int64_t tokens) {
  const auto* id = const_data<int64_t>(token);
  const int64_t n = token.numel();
  if (tokens > kFewTokens + 64 * n) {  // mostly others: a table of all would be the dearer
    std::vector<int64_t> sorted(id, id + n);
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    STD_TORCH_CHECK(twice == sorted.end(), "token: ", *twice, " occurs twice");
    return;
  }
  std::vector<bool> seen(tokens);
  for (int64_t i = 0; i < n; ++i) {
    STD_TORCH_CHECK(!seen[id[i]], "token: ", id[i], " occurs twice");
    seen[id[i]] = true;
  }
}

void check_state(const Tensor& tensor, const Tensor& weighted, int64_t dims, const char* name) {
  check_dense(tensor, weighted.scalar_type(), dims, name);
  for (int64_t i = 0; i < dims; ++i) {
    STD_TORCH_CHECK(tensor.size(i) == weighted.size(i), name, ": expected ", weighted.size(i),
                    " in dimension ", i, " as weighted has, got ", tensor.size(i));
  }
}

// ---- the op

struct Inputs {
  Tensor weighted, total, shift, reference;  // [M, H, d], [M, H] x 2, [M, H, d]
  Tensor token, row, cu_tokens;              // [n] x 2, [G + 1]
  Tensor query, key, value;                  // [r, H, d]
  Tensor changed, weight, cu_changed;        // [c] x 2, [G + 1]
  Tensor reach;                              // [H]
  double scale;

  void check() {
    check_dense(weighted, weighted.scalar_type(), 3, "weighted");
    check_state(total, weighted, 2, "total");
    check_state(shift, weighted, 2, "shift");
    check_state(reference, weighted, 3, "reference");
    query = heads_of(query, "query", weighted, "weighted");
    key = heads_of(key, "key", weighted, "weighted");
    value = heads_of(value, "value", weighted, "weighted");
    STD_TORCH_CHECK(key.size(0) == value.size(0), "value: ", value.size(0), " rows, key has ",
                    key.size(0));
    check_whole_index(token, weighted.size(0), "token", "weighted");
    check_once(token, weighted.size(0));
    check_whole_index(row, query.size(0), "row", "query");
    STD_TORCH_CHECK(row.size(0) == token.size(0), "row: ", row.size(0), " entries, token has ",
                    token.size(0));
    check_whole_index(changed, key.size(0), "changed", "key");
    check_dense(weight, weighted.scalar_type(), 1, "weight");
    STD_TORCH_CHECK(weight.size(0) == changed.size(0), "weight: ", weight.size(0),
                    " entries, changed has ", changed.size(0));
    check_dense(reach, weighted.scalar_type(), 1, "reach");
    STD_TORCH_CHECK(reach.size(0) == weighted.size(1), "reach: ", reach.size(0),
                    " entries, weighted has ", weighted.size(1), " heads");
    check_all_ends(cu_tokens, token.size(0), "cu_tokens");
    check_all_ends(cu_changed, changed.size(0), "cu_changed");
    STD_TORCH_CHECK(cu_tokens.size(0) == cu_changed.size(0), "cu_changed: ", cu_changed.size(0) - 1,
                    " groups, cu_tokens has ", cu_tokens.size(0) - 1);
  }

  template <class Real>
  void run(const Tensor& moved, int64_t level) const {
    const auto rows = [](const Tensor& tensor) {
      return HeadRows<Real>{const_data<Real>(tensor), tensor.stride(0), tensor.stride(1)};
    };
    exchange_all<Real>(
        {data<Real>(weighted), data<Real>(total), const_data<Real>(shift),
         const_data<Real>(reference), const_data<int64_t>(token), rows(query), rows(key),
         rows(value), const_data<int64_t>(row), const_data<int64_t>(changed),
         const_data<Real>(weight), const_data<Real>(reach), data<Real>(moved), weighted.size(1),
         weighted.size(2), scale},
        {const_data<int32_t>(cu_tokens), const_data<int32_t>(cu_changed), cu_tokens.numel() - 1},
        level);
  }
};

Tensor exchange_level(                                                      // -> [n]
    const Tensor& weighted, const Tensor& total, const Tensor& shift,       // [M, H, d], [M, H] x 2
    const Tensor& reference,                                                // [M, H, d]
    const Tensor& token, const Tensor& row, const Tensor& cu_tokens,        // [n] x 2, [G + 1]
    const Tensor& query, const Tensor& key, const Tensor& value,            // [r, H, d]
    const Tensor& changed, const Tensor& weight, const Tensor& cu_changed,  // [c] x 2, [G + 1]
    const Tensor& reach, double scale, int64_t level) {                     // [H]
  check_level(level);
  const ScalarType dtype = weighted.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double,
                  "weighted: expected float32 or float64");
  Inputs in{weighted, total, shift,   reference, token,      row,   cu_tokens, query,
            key,      value, changed, weight,    cu_changed, reach, scale};
  in.check();
  const Tensor moved = empty_like_device(weighted, {token.size(0)}, dtype);
  dtype == ScalarType::Float ? in.run<float>(moved, level) : in.run<double>(moved, level);
  return moved;
}

Tensor exchange(const Tensor& weighted, const Tensor& total, const Tensor& shift,
                const Tensor& reference, const Tensor& token, const Tensor& row,
                const Tensor& cu_tokens, const Tensor& query, const Tensor& key,
                const Tensor& value, const Tensor& changed, const Tensor& weight,
                const Tensor& cu_changed, const Tensor& reach, double scale) {
  return exchange_level(weighted, total, shift, reference, token, row, cu_tokens, query, key, value,
                        changed, weight, cu_changed, reach, scale, best_level());
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("exchange", TORCH_BOX(&patchgate::exchange));
  m.impl("exchange_level", TORCH_BOX(&patchgate::exchange_level));
}
