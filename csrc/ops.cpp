// Every op's schema: the table of contents. One op has one basename in every folder: <op>.h is the
// arithmetic, cpu/<op>.cpp and cuda/<op>.cu (or kernels/<op>.py) the loops around it,
// python/patchgate/reference/<op>.py its definition in plain torch.
//
// Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels,
// h w cells, N = h * w, K tokens, D features, P patch side. In attention: R queries, A rows of
// keys, G groups, L keys of all groups, H heads, d features of a head. In exchange: M tokens, n
// stale ones, c exchanged keys, r rows. In activate: M tokens of a frame. In merging:
// A rows, L entries of an index, G segments, Q queries, B bins.
#include "torch.h"

STABLE_TORCH_LIBRARY(patchgate, m) {
  // Frame grid. y [T, H', W'], cb cr [T, H'', W''] u8, or u16 with the value in the low bits (in
  // the high ones: bit_depth 16 rounds alike), of any strides (CPU: last stride 1); one tap table
  // [out, 1 + taps] int32 per plane kind and direction (first sample or -1, weights).
  // -> [T, 3, H, W] u8, full range.
  m.def(
      "frame_grid(Tensor y, Tensor cb, Tensor cr, Tensor luma_x, Tensor luma_y, Tensor chroma_x, "
      "Tensor chroma_y, bool full_range, int bit_depth) -> Tensor");

  // Motion gate. planes [S, T, f, C, H, W] u8; the stream state is updated in place:
  // picture [S, f, C, H, W] u8, ids [S, H, W] int32, source [S, h, w] int64,
  // clock [S, 2] int64 (frames seen, tokens emitted), births [S, max_age or 0] int64,
  // quartiles [S, 15] int32, light [S, f, C, 4, h, w] int32 (h = 0: the light is not followed);
  // threshold_map [h, w] float64. Vectors count in 1 / motion_precision
  // pixels (1, 2 or 4 of them).
  // -> kind [S, T, h, w] u8, motion [S, T, h, w, 2] int8, cost [S, T, h, w] int32,
  //    source [S, T, h, w] int64, is_key [S, T] bool, limit [S, T] int32,
  //    weights [S, T, f, C, 2] int32, lit [S, T, h, w] bool (f = 0 and h = 0 where light has no h).
  m.def(
      "gate(Tensor planes, Tensor(a!) picture, Tensor(b!) ids, Tensor(c!) source, "
      "Tensor(d!) clock, Tensor(e!) births, Tensor(f!) quartiles, Tensor(g!) light, "
      "Tensor? threshold_map, "
      "int cell, int sub_block, int limit, int texture, int search_radius, int on_motion, "
      "int cut, float hysteresis, bool adaptive, int motion_precision) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");

  // Compact. kind [..., h, w] u8 -> index [capacity] int64 (flat cell index, -1 past the end),
  // cu_seqlens [frames + 1] int32 (clamped to the capacity), count [1] int64 (all changed cells:
  // more than the capacity means overflow).
  m.def("compact(Tensor kind, SymInt capacity) -> (Tensor, Tensor, Tensor)");

  // Gather. y [T, H', W'], cb cr [T, H'', W''] u8, or u16 with the value in the low bits; R, G, B
  // of one size where matrix is missing. index [capacity] int64, flat over (tubelets, h, w), rows
  // of negative entries are 0; tap tables [out, 1 + taps] int32 (first sample or -1, weights);
  // matrix [6] int32 (gather.h); levels [3, 256], what a u8 value becomes. A last tubelet that
  // lacks frames repeats the last one.
  // -> [capacity * merge^2, C * f * P * P] (or f * P * P * C) of the levels' dtype, a cell's
  // patches row by row.
  m.def(
      "gather(Tensor y, Tensor cb, Tensor cr, Tensor index, Tensor taps_x, Tensor taps_y, "
      "Tensor? matrix, Tensor levels, int bit_depth, int patch, int merge, int temporal_patch, "
      "bool channels_last, bool vertical_first) -> Tensor");

  // Residual attention. query [R, H, d], key value [A, H, d] of one float dtype, last stride 1.
  // In group g, rows cu_queries[g]:cu_queries[g + 1] of query attend to the rows of key and value
  // that key_index[cu_keys[g]:cu_keys[g + 1]] names. cu_queries, cu_keys [G + 1] int32; key_index
  // [L] int64; bias [L] float32 is added to the scaled scores.
  // -> out [R, H, d] of the query's dtype, lse [R, H] float32 (float64 for float64): log of the sum
  // of exponentials. A query that has no keys: 0 and -inf.
  m.def(
      "residual_attention(Tensor query, Tensor key, Tensor value, Tensor cu_queries, "
      "Tensor key_index, Tensor cu_keys, Tensor? bias, float scale) -> (Tensor out, Tensor lse)");

  // The same with the kernels of one instruction set, for tests: 0 portable, 1 AVX2, 2 AVX-512.
  m.def(
      "residual_attention_level(Tensor query, Tensor key, Tensor value, Tensor cu_queries, "
      "Tensor key_index, Tensor cu_keys, Tensor? bias, float scale, int level) "
      "-> (Tensor out, Tensor lse)");

  // Gradients of residual_attention, from its inputs, outputs and their gradients.
  // -> of query, key, value (in their dtypes) and bias ([L] float32; [0] if there is none).
  m.def(
      "residual_attention_backward(Tensor grad_out, Tensor grad_lse, Tensor query, Tensor key, "
      "Tensor value, Tensor cu_queries, Tensor key_index, Tensor cu_keys, Tensor? bias, "
      "float scale, Tensor out, Tensor lse) -> (Tensor, Tensor, Tensor, Tensor)");

  // Exchange. Of M tokens' attention as running sums (weighted [M, H, d], total [M, H], relative to
  // shift [M, H]), some take out old keys and put in new ones, in place: in group g, those that
  // token[cu_tokens[g]:cu_tokens[g + 1]] names (none twice), with the queries that row [n] names,
  // and the keys and values changed[cu_changed[g]:cu_changed[g + 1]], each weight [c] times more
  // (or fewer: negative). float32 or float64, one dtype; query key value [r, H, d]; token, row,
  // changed int64; cu_tokens, cu_changed [G + 1] int32.
  // -> moved [n]: sqrt(sum over heads of reach^2 |weighted / total - reference|^2), reference
  // [M, H, d], reach [H]; NaN where a total has left (0.25, 4): sum up anew there. It has no
  // gradients (its definition in plain torch has).
  m.def(
      "exchange(Tensor(a!) weighted, Tensor(b!) total, Tensor shift, Tensor reference, "
      "Tensor token, Tensor row, Tensor cu_tokens, Tensor query, Tensor key, Tensor value, "
      "Tensor changed, Tensor weight, Tensor cu_changed, Tensor reach, float scale) -> Tensor");

  // The same with the kernels of one instruction set, for tests, as above.
  m.def(
      "exchange_level(Tensor(a!) weighted, Tensor(b!) total, Tensor shift, Tensor reference, "
      "Tensor token, Tensor row, Tensor cu_tokens, Tensor query, Tensor key, Tensor value, "
      "Tensor changed, Tensor weight, Tensor cu_changed, Tensor reach, float scale, int level) "
      "-> Tensor");

  // Activate. Which of the tokens of T frames that stand still become active, frame after frame,
  // for their attention outputs out [T * M, H, d] moved their states by more than bound [T, M] from
  // those that these were made with: sqrt(sum over heads of reach^2 |o - o_made|^2) > bound, reach
  // [H]; both float32 (float64 for float64). active [T, M] bool; differs [T] bool: frames whose
  // tokens show other rows than in the frame before (elsewhere nothing moved); parent [T, M] int64,
  // flat over it: whom each inherits from. Frame 0 is active as a whole. At most room tokens are
  // active in the end, first frames first.
  // -> fired [T, M] bool, late [1] int64: how many more there would be.
  m.def(
      "activate(Tensor out, Tensor active, Tensor differs, Tensor parent, Tensor reach, Tensor "
      "bound, "
      "SymInt room) -> (Tensor fired, Tensor late)");

  // Segment mean. features [A, D] of a float dtype, weight [A] float32 (float64 for float64), index
  // [L] int64, cu_segments [G + 1] int32: the weighted mean of the rows of features that
  // index[cu_segments[g]:cu_segments[g + 1]] names, in float32 (float64).
  // -> [G, D] of the features' dtype; 0 where a segment has no weight.
  m.def(
      "segment_mean(Tensor features, Tensor? weight, Tensor index, Tensor cu_segments) -> Tensor");

  // Gradients of segment_mean, from its inputs, output and its gradient.
  // -> of features (in their dtype) and weight (in its dtype; [0] if there is none).
  m.def(
      "segment_mean_backward(Tensor grad, Tensor features, Tensor? weight, Tensor index, "
      "Tensor cu_segments, Tensor out) -> (Tensor, Tensor)");

  // Nearest token. features [K, D] float32, query [Q] int64, candidate [L] int64 (negative: none),
  // begin, end [Q] int64: of the rows that candidate[begin[q]:end[q]] names, the one nearest to row
  // query[q]; the first of equals, never the query itself.
  // -> nearest [Q] int64 (-1: no candidate), squared Euclidean distance [Q] float32 (inf).
  m.def(
      "nearest_token(Tensor features, Tensor query, Tensor candidate, Tensor begin, Tensor end) "
      "-> (Tensor, Tensor)");

  // Row distance. left [A, D], right [B, D] float32; left_row, right_row [Q] int64.
  // -> [Q] float32: the Euclidean distance of each pair of rows.
  m.def("row_distance(Tensor left, Tensor left_row, Tensor right, Tensor right_row) -> Tensor");

  // Contract. features [K, D] float32; weight [K] float64, inf for a token that must stay as it is;
  // link [K] int64, the token that each may join (-1: none), a forest; distance [K] float32,
  // squared, to that token. Joins the cheapest first, at most `most` of all tokens and room[b]
  // [B] int64 of those of bin [K] int64 b; the rule is that of reference/contract.py.
  // -> [K] int64, the token that stands for each: itself if it stays.
  m.def(
      "contract(Tensor features, Tensor weight, Tensor link, Tensor distance, Tensor bin, "
      "Tensor room, SymInt most, float threshold) -> Tensor");

  // Expand. features [K, D], source [...] int64 -> [..., D].
  m.def("expand(Tensor features, Tensor source) -> Tensor");

  // Gradient of expand. grad [..., D] float, source [...] int64 -> [tokens, D]: of every token the
  // sum over its cells, added up in float32 (float64 for float64) and rounded once.
  m.def("expand_backward(Tensor grad, Tensor source, SymInt tokens) -> Tensor");
}
