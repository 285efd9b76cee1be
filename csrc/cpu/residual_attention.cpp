// Residual attention on the CPU: checks, and shares of equal work for the threads.
#include "cpu/residual_attention.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>

#include "cpu/simd.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr int64_t kWorkGrain = 1 << 15;  // multiplications of a score that repay waking a thread
constexpr int64_t kQueryGrain = 12;      // queries that are never split: those of a tile

template <class T>
AttentionKernel<T> best_attention_kernel() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("x86-64-v4")) return avx512::attention_kernel<T>();
  if (__builtin_cpu_supports("x86-64-v3")) return avx2::attention_kernel<T>();
#endif
  return portable::attention_kernel<T>();
}

// Ends of the groups, [G + 1].
struct Ends {
  const int32_t* query;
  const int32_t* key;
  int64_t groups;

  int64_t queries(int64_t g) const { return query[g + 1] - query[g]; }
  int64_t keys(int64_t g) const { return key[g + 1] - key[g]; }
};

// Work is counted in (queries + what a key costs by itself) * keys, heads outermost: neighbouring
// groups mostly share their keys, and those of one head stay in the cache.
class Shares {
 public:
  explicit Shares(const Ends& ends, int64_t heads) : ends_(ends), heads_(heads) {
    before_.resize(ends.groups + 1);
    for (int64_t g = 0; g < ends.groups; ++g) before_[g + 1] = before_[g] + work(g);
  }

  int64_t total() const { return before_.back() * heads_; }

  // Calls attend(piece) for the pieces of work [begin, end); over all shares, for every query of
  // every head exactly once.
  template <class F>
  void run(int64_t begin, int64_t end, const F& attend) const {
    const int64_t head_work = before_.back();
    for (int64_t at = begin; at < end;) {
      const int64_t head = at / head_work, in_head = at % head_work;
      const auto after = std::upper_bound(before_.begin(), before_.end(), in_head);
      const int64_t g = after - before_.begin() - 1;
      const int64_t group_begin = head * head_work + before_[g];
      const int64_t group_end = group_begin + work(g);
      const int64_t first = split(g, at - group_begin);
      const int64_t last = split(g, std::min(end, group_end) - group_begin);
      if (first < last)
        attend(Piece{head, ends_.query[g] + first, last - first, ends_.key[g], ends_.keys(g)});
      at = group_end;
    }
  }

 private:
  // The query of a group at which so much of its work is done.
  int64_t split(int64_t g, int64_t done) const {
    const int64_t queries = ends_.queries(g);
    if (done >= work(g)) return queries;
    const auto share = static_cast<double>(done) / static_cast<double>(work(g));
    return static_cast<int64_t>(share * static_cast<double>(queries)) / kQueryGrain * kQueryGrain;
  }

  int64_t work(int64_t g) const {
    const int64_t queries = ends_.queries(g);
    return queries == 0 ? 0 : (queries + 4) * (ends_.keys(g) + 4);
  }

  Ends ends_;
  int64_t heads_;
  std::vector<int64_t> before_;  // [G + 1]: work of one head's groups before each
};

template <class T>
void attend_all(const Attention<T>& attention, const Ends& ends) {
  const AttentionKernel<T> kernel = best_attention_kernel<T>();
  int64_t queries = 0, keys = 0;
  for (int64_t g = 0; g < ends.groups; ++g) {
    queries = std::max(queries, ends.queries(g));
    keys = std::max(keys, ends.queries(g) > 0 ? ends.keys(g) : 0);
  }
  const int64_t numbers = kernel.scratch_size(queries, keys, attention.width);
  const Shares shares(ends, attention.heads);
  const int64_t total = shares.total(), width = std::max<int64_t>(1, attention.width);
  torch::stable::parallel_for(0, total, kWorkGrain / width + 1, [&](int64_t begin, int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<Work<T>[]>(numbers + 16);
    void* aligned = scratch.get();
    size_t space = (numbers + 16) * sizeof(Work<T>);
    auto* memory = static_cast<Work<T>*>(std::align(64, numbers * sizeof(Work<T>), aligned, space));
    shares.run(begin, end, [&](const Piece& piece) { kernel.attend(attention, piece, memory); });
  });
}

// ---- checks

void check_ends(const Tensor& ends, int64_t most, const char* name) {
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

void check_index(const Tensor& index, const int32_t* ends, int64_t groups, int64_t rows) {
  const auto* id = const_data<int64_t>(index);
  for (int64_t i = ends[0]; i < ends[groups]; ++i) {
    STD_TORCH_CHECK(id[i] >= 0 && id[i] < rows, "key_index: ", id[i], " at ", i,
                    " is not one of the ", rows, " rows of key");
  }
}

// With d adjacent: anything else is copied.
Tensor heads_of(const Tensor& tensor, const Tensor& query, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 3, name, ": expected [rows, H, d], got ", tensor.dim(),
                  " dimensions");
  STD_TORCH_CHECK(tensor.scalar_type() == query.scalar_type(), name,
                  ": dtype differs from query's");
  STD_TORCH_CHECK(tensor.size(1) == query.size(1) && tensor.size(2) == query.size(2), name,
                  ": expected ", query.size(1), " heads of ", query.size(2), ", got ",
                  tensor.size(1), " of ", tensor.size(2));
  return tensor.stride(2) == 1 || tensor.size(2) <= 1 ? tensor : torch::stable::contiguous(tensor);
}

template <class T>
HeadRows<T> rows_of(const Tensor& tensor) {
  return {const_data<T>(tensor), tensor.stride(0), tensor.stride(1)};
}

template <class T>
void run(const Tensor& query, const Tensor& key, const Tensor& value, const Ends& ends,
         const Tensor& key_index, const std::optional<Tensor>& bias, double scale,
         const Tensor& out, const Tensor& lse) {
  // What belongs to no group.
  const int64_t heads = query.size(1), width = query.size(2);
  const int64_t rows = query.size(0), first = ends.query[0], last = ends.query[ends.groups];
  const auto clear = [&](int64_t begin, int64_t end) {
    std::fill(data<T>(out) + begin * heads * width, data<T>(out) + end * heads * width, T(0));
    std::fill(data<Work<T>>(lse) + begin * heads, data<Work<T>>(lse) + end * heads, -INFINITY);
  };
  clear(0, first);
  clear(last, rows);
  attend_all<T>({rows_of<T>(query), rows_of<T>(key), rows_of<T>(value),
                 const_data<int64_t>(key_index), bias ? const_data<float>(*bias) : nullptr,
                 data<T>(out), data<Work<T>>(lse), heads, width, scale},
                ends);
}

std::tuple<Tensor, Tensor> residual_attention(const Tensor& query_,  // [R, H, d]
                                              const Tensor& key_,
                                              const Tensor& value_,  // [A, H, d]
                                              const Tensor& cu_queries,
                                              const Tensor& key_index,  // [G + 1], [L]
                                              const Tensor& cu_keys,
                                              std::optional<Tensor> bias,  // [G + 1], [L]
                                              double scale) {              // -> [R, H, d], [R, H]
  const Tensor query = heads_of(query_, query_, "query");
  const Tensor key = heads_of(key_, query_, "key"), value = heads_of(value_, query_, "value");
  STD_TORCH_CHECK(key.size(0) == value.size(0), "value: ", value.size(0), " rows, key has ",
                  key.size(0));
  check_dense(key_index, ScalarType::Long, 1, "key_index");
  check_ends(cu_queries, query.size(0), "cu_queries");
  check_ends(cu_keys, key_index.size(0), "cu_keys");
  STD_TORCH_CHECK(cu_queries.size(0) == cu_keys.size(0), "cu_keys: ", cu_keys.size(0) - 1,
                  " groups, cu_queries has ", cu_queries.size(0) - 1);
  if (bias.has_value()) {
    check_dense(*bias, ScalarType::Float, 1, "bias");
    STD_TORCH_CHECK(bias->size(0) == key_index.size(0), "bias: ", bias->size(0),
                    " entries, key_index has ", key_index.size(0));
  }
  const Ends ends{const_data<int32_t>(cu_queries), const_data<int32_t>(cu_keys),
                  cu_queries.size(0) - 1};
  check_index(key_index, ends.key, ends.groups, key.size(0));

  const ScalarType dtype = query.scalar_type();
  const bool wide = dtype == ScalarType::Double;
  const Tensor out = empty_like_device(query, {query.size(0), query.size(1), query.size(2)}, dtype);
  const Tensor lse = empty_like_device(query, {query.size(0), query.size(1)},
                                       wide ? ScalarType::Double : ScalarType::Float);
  const auto call = [&]<class T>() {
    run<T>(query, key, value, ends, key_index, bias, scale, out, lse);
  };
  if (dtype == ScalarType::Float)
    call.template operator()<float>();
  else if (wide)
    call.template operator()<double>();
  else if (dtype == ScalarType::BFloat16)
    call.template operator()<c10::BFloat16>();
  else if (dtype == ScalarType::Half)
    call.template operator()<c10::Half>();
  else
    STD_TORCH_CHECK(false, "query: expected float32, float64, bfloat16 or float16");
  return {out, lse};
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("residual_attention", TORCH_BOX(&patchgate::residual_attention));
}
