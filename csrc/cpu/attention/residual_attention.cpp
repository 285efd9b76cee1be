// Residual attention on the CPU: checks, threads, and the choice of an instruction set.
#include <memory>
#include <optional>
#include <tuple>

#include "cpu/attention/attention_checks.h"
#include "cpu/attention/residual_attention_shares.h"
#include "torch.h"

namespace patchgate {
namespace {

constexpr int64_t kWorkGrain = 1 << 15;  // multiplications of a score that repay waking a thread

template <class T>
AttentionKernel<T> attention_kernel([[maybe_unused]] int64_t level) {
#ifdef PG_ATTENTION_X86
  if (level == 2) return avx512::attention_kernel<T>();
  if (level == 1) return avx2::attention_kernel<T>();
#endif
  return portable::attention_kernel<T>();
}

template <class T>
void attend_all(const Attention<T>& attention, const Ends& ends, int64_t level) {
  const AttentionKernel<T> kernel = attention_kernel<T>(level);
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

// ---- inputs

template <class T>
HeadRows<T> rows_of(const Tensor& tensor) {
  return {const_data<T>(tensor), tensor.stride(0), tensor.stride(1)};
}

// The op's inputs, checked.
struct Inputs {
  Tensor query, key, value;  // [R, H, d], [A, H, d] x 2
  Ends ends;
  const int64_t* key_index;  // [L]
  const float* bias;         // [L] or null
  double scale;
};

Inputs checked(const Tensor& query, const Tensor& key, const Tensor& value,
               const Tensor& cu_queries, const Tensor& key_index, const Tensor& cu_keys,
               const std::optional<Tensor>& bias, double scale) {
  const Inputs in{
      heads_of(query, "query", query, "query"),
      heads_of(key, "key", query, "query"),
      heads_of(value, "value", query, "query"),
      {const_data<int32_t>(cu_queries), const_data<int32_t>(cu_keys), cu_queries.numel() - 1},
      const_data<int64_t>(key_index),
      bias.has_value() ? const_data<float>(*bias) : nullptr,
      scale};
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
  check_index(key_index, in.ends.key[0], in.ends.key[in.ends.groups], key.size(0), "key_index",
              "key");
  return in;
}

template <class T>
void run(const Inputs& in, const Tensor& out, const Tensor& lse, int64_t level) {
  const int64_t rows = in.query.size(0), heads = in.query.size(1), width = in.query.size(2);
  const auto clear = [&](int64_t begin, int64_t end) {  // rows of no group
    std::fill(data<T>(out) + begin * heads * width, data<T>(out) + end * heads * width, T(0));
    std::fill(data<Work<T>>(lse) + begin * heads, data<Work<T>>(lse) + end * heads, -INFINITY);
  };
  clear(0, in.ends.query[0]);
  clear(in.ends.query[in.ends.groups], rows);
  attend_all<T>({rows_of<T>(in.query), rows_of<T>(in.key), rows_of<T>(in.value), in.key_index,
                 in.bias, data<T>(out), data<Work<T>>(lse), heads, width, in.scale},
                in.ends, level);
}

std::tuple<Tensor, Tensor> attention_at(const Inputs& in, int64_t level) {
  const ScalarType dtype = in.query.scalar_type();
  const bool wide = dtype == ScalarType::Double;
  const int64_t rows = in.query.size(0), heads = in.query.size(1);
  const Tensor out = empty_like_device(in.query, {rows, heads, in.query.size(2)}, dtype);
  const Tensor lse =
      empty_like_device(in.query, {rows, heads}, wide ? ScalarType::Double : ScalarType::Float);
  if (lse.numel() == 0) return {out, lse};
  if (dtype == ScalarType::Float)
    run<float>(in, out, lse, level);
  else if (wide)
    run<double>(in, out, lse, level);
  else if (dtype == ScalarType::BFloat16)
    run<c10::BFloat16>(in, out, lse, level);
  else if (dtype == ScalarType::Half)
    run<c10::Half>(in, out, lse, level);
  else
    STD_TORCH_CHECK(false, "query: expected float32, float64, bfloat16 or float16");
  return {out, lse};
}

std::tuple<Tensor, Tensor> residual_attention(  // -> [R, H, d], [R, H]
    const Tensor& query,                        // [R, H, d]
    const Tensor& key, const Tensor& value,     // [A, H, d]
    const Tensor& cu_queries,                   // [G + 1]
    const Tensor& key_index,                    // [L]
    const Tensor& cu_keys,                      // [G + 1]
    std::optional<Tensor> bias,                 // [L]
    double scale) {
  return attention_at(checked(query, key, value, cu_queries, key_index, cu_keys, bias, scale),
                      best_level());
}

std::tuple<Tensor, Tensor> residual_attention_level(const Tensor& query, const Tensor& key,
                                                    const Tensor& value, const Tensor& cu_queries,
                                                    const Tensor& key_index, const Tensor& cu_keys,
                                                    std::optional<Tensor> bias, double scale,
                                                    int64_t level) {
  check_level(level);
  return attention_at(checked(query, key, value, cu_queries, key_index, cu_keys, bias, scale),
                      level);
}

}  // namespace
}  // namespace patchgate

STABLE_TORCH_LIBRARY_IMPL(patchgate, CPU, m) {
  m.impl("residual_attention", TORCH_BOX(&patchgate::residual_attention));
  m.impl("residual_attention_level", TORCH_BOX(&patchgate::residual_attention_level));
}
