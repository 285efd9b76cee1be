// The kernels of the level that includes this.
#pragma once

#include "cpu/residual_attention_many.h"

namespace patchgate::PG_LEVEL {
namespace {

template <class T>
void attend(const Attention<T>& a, const Piece& piece, Work<T>* scratch) {
  attend_many(a, piece, scratch);
}

template <class Real>
int64_t scratch_size(int64_t queries, int64_t keys, int64_t width) {
  return Panels<Real>(queries, keys, width, nullptr).size();
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
