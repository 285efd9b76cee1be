// The kernels of the level that includes this.
#pragma once

#include "cpu/attention/residual_attention_few.h"
#include "cpu/attention/residual_attention_many.h"

namespace patchgate::PG_LEVEL {
namespace {

template <class T>
void attend(const Attention<T>& a, const Piece& piece, Work<T>* scratch) {
  Block<Work<T>> block(piece.queries, piece.keys, a.width, scratch);
  const bool few = piece.group_queries <= kFew;
  for (int64_t q = 0; q < piece.queries; q += kBlockQueries) {
    Piece part = piece;
    part.first_query += q;
    part.queries = smaller(kBlockQueries, piece.queries - q);
    block.clear(part.queries);
    few ? copy_queries(a, part, block) : pack_queries(a, part, block);
    for (int64_t k = 0; k < piece.keys; k += kBlockKeys) {
      part.first_key = piece.first_key + k;
      part.keys = smaller(kBlockKeys, piece.keys - k);
      copy_bias(a, part, block);
      few ? attend_few(a, part, block) : attend_many(a, part, block);
    }
    for (int64_t i = 0; i < part.queries; ++i)
      write_query(a, part.first_query + i, piece.head, block.sums + i * block.wide, block.most[i],
                  block.total[i]);
  }
}

template <class Real>
int64_t scratch_size(int64_t queries, int64_t keys, int64_t width) {
  return Block<Real>(queries, keys, width, nullptr).size();
}

}  // namespace

template <class T>
AttentionKernel<T> attention_kernel() {
  return {scratch_size<Work<T>>, attend<T>};
}

template AttentionKernel<float> attention_kernel();
template AttentionKernel<double> attention_kernel();
template AttentionKernel<c10::BFloat16> attention_kernel();
template AttentionKernel<c10::Half> attention_kernel();

}  // namespace patchgate::PG_LEVEL
