// What a frame leaves behind: the gate's results, then its state.
#include <algorithm>
#include <cstring>

#include "cpu/gate/gate_stream.h"
#include "torch.h"

namespace patchgate {

namespace {

constexpr int64_t kGrain = 256;  // copied cells that repay waking a thread

template <int kCell, class T>
void copy_known_rows(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  for (int y = 0; y < kCell; ++y)
    std::memcpy(to + y * to_stride, from + y * from_stride, kCell * sizeof(T));
}

// A cell x cell block. Rows are so short that calling memcpy costs more than copying: for the usual
// sizes the compiler knows the length.
template <class T>
void copy_rows(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t cell) {
  if (cell == 14) return copy_known_rows<14>(from, from_stride, to, to_stride);
  if (cell == 16) return copy_known_rows<16>(from, from_stride, to, to_stride);
  for (int64_t y = 0; y < cell; ++y)
    std::memcpy(to + y * to_stride, from + y * from_stride, cell * sizeof(T));
}

}  // namespace

// Results, sources and clock. Sources are voted on the old ids, so this comes before the pictures.
void GateStream::finish(const GateResult& result) {
  int64_t& tokens = state_.clock[1];
  int64_t changed = 0;
  moved_.clear(), changed_.clear();
  for (int64_t n = 0; n < shape_.cells(); ++n) {
    Cell& cell = cells_[n];
    const bool is_changed = cell.kind == kChanged;
    if (cell.kind == kMoved)
      moved_.push_back(n);
    else
      cell.motion = {0, 0};
    if (is_changed) changed_.push_back(n);
    result.kind[n] = cell.kind;
    result.motion[2 * n] = static_cast<int8_t>(cell.motion.dy);
    result.motion[2 * n + 1] = static_cast<int8_t>(cell.motion.dx);
    result.cost[n] = is_changed ? cell.least : cell.cost;
    result.source[n] = is_changed ? tokens + changed : source(n);
    changed += is_changed;
  }
  std::copy_n(result.source, shape_.cells(), state_.source);
  *result.is_key = changed == shape_.cells();
  tokens += changed;
  ++state_.clock[0];
}

// Moved blocks are all read before any block is written: every cell reads the old picture.
void GateStream::write_picture() {
  const int64_t area = shape_.cell * shape_.cell, bytes = shape_.planes_per_cell() * area;
  std::vector<uint8_t> pixels(moved_.size() * bytes);
  std::vector<int32_t> ids(moved_.size() * area);
  const auto each = [](const std::vector<int64_t>& list, auto&& work) {
    torch::stable::parallel_for(0, list.size(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) work(i, list[i]);
    });
  };
  each(moved_, [&](int64_t i, int64_t n) {
    copy_block(n, cells_[n].motion, &pixels[i * bytes], &ids[i * area]);
  });
  each(moved_, [&](int64_t i, int64_t n) { paste_block(n, &pixels[i * bytes], &ids[i * area]); });
  each(changed_, [&](int64_t, int64_t n) { encode_block(n); });
}

void GateStream::copy_block(int64_t n, Vector from, uint8_t* pixels, int32_t* ids) const {
  const int64_t cell = shape_.cell;
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    const Block block = block_then(n, from, p);
    copy_rows(block.pixels, block.stride, pixels + p * cell * cell, cell, cell);
  }
  copy_rows(state_.ids + ids_offset(n, from), shape_.width, ids, cell, cell);
}

void GateStream::paste_block(int64_t n, const uint8_t* pixels, const int32_t* ids) {
  const int64_t cell = shape_.cell, at = shape_.offset(n);
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p)
    copy_rows(pixels + p * cell * cell, cell, state_.picture + p * shape_.plane() + at,
              shape_.width, cell);
  copy_rows(ids, cell, state_.ids + at, shape_.width, cell);
}

void GateStream::encode_block(int64_t n) {
  const int64_t cell = shape_.cell;
  for (int64_t p = 0; p < shape_.planes_per_cell(); ++p) {
    const int64_t at = p * shape_.plane() + shape_.offset(n);
    copy_rows(frame_ + at, shape_.width, state_.picture + at, shape_.width, cell);
  }
  const auto id = static_cast<int32_t>(state_.source[n]);
  for (int64_t y = 0; y < cell; ++y)
    std::fill_n(state_.ids + shape_.offset(n) + y * shape_.width, cell, id);
}

}  // namespace patchgate
