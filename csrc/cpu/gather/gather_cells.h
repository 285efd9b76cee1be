// The gather on the CPU: a run of neighbouring kept cells at a time, only the source region that
// their taps reach. Knows no torch, so that tests can run it at every level of instructions.
#pragma once

#include "cpu/gather/gather_colour.h"
#include "cpu/gather/gather_weigh.h"

namespace patchgate {

// A cell is merge x merge patches of patch x patch pixels, over `frames` frames. Its patches, row
// by row, are rows of the output, each (C, f, P, P), or (f, P, P, C) with channels_last.
struct CellLayout {
  int64_t patch, merge, frames;
  bool channels_last;

  int64_t cell() const { return patch * merge; }
  int64_t rows() const { return merge * merge; }
  int64_t row_size() const { return frames * 3 * patch * patch; }
  int64_t step() const { return channels_last ? 3 : 1; }  // to the next pixel of a patch's row
  int64_t offset(int64_t c, int64_t frame, int64_t dy) const {
    return channels_last ? (frame * patch + dy) * patch * 3 + c
                         : ((c * frames + frame) * patch + dy) * patch;
  }
};

// `count` kept cells side by side: rows of the output from entry `first` of the index.
struct CellRun {
  int64_t first, count;
  int64_t tubelet, cy, cx;
};

// The kept cells of an index in runs of at most `most`; negative entries are left out.
inline std::vector<CellRun> cell_runs(const int64_t* index, int64_t capacity, int64_t h, int64_t w,
                                      int64_t most) {
  std::vector<CellRun> runs;
  for (int64_t k = 0; k < capacity; ++k) {
    const int64_t cell = index[k];
    if (cell < 0) continue;
    const bool follows = k > 0 && cell == index[k - 1] + 1 && cell % w != 0;
    if (follows && runs.back().count < most) {
      ++runs.back().count;
    } else {
      runs.push_back({k, 1, cell / (h * w), cell / w % h, cell % w});
    }
  }
  return runs;
}

// Cells of a run: their columns fill a few registers, their source region the caches.
inline int64_t longest_run(const CellLayout& layout) {
  return std::max<int64_t>(1, 64 / layout.cell());
}

// Tap tables of both axes, and the pass that comes first.
struct Filters {
  QuadTaps columns, rows;
  bool vertical_first;
};

template <typename Sample, typename Element>
class CellGather {
 public:
  // Planes of `picture` are not looked at: every run brings its own frame.
  CellGather(const Picture<Sample>& picture, const Filters& filters, const CellLayout& layout,
             const Element* levels /* [3, 256] */)
      : picture_(picture),
        filters_(filters),
        layout_(layout),
        levels_(levels),
        colour_(picture, round_up(picture.width, 4)),
        line_(round_up(longest_run(layout) * layout.cell(), kLanes)) {
    for (auto& rows : rgb_) {
      for (auto& row : rows) row.resize(round_up(picture.width, 4));
    }
  }

  // Frame `frame` of a run's tubelet. out [capacity * merge * merge, row_size]
  void run(const Sample* const planes[3], const CellRun& run, int64_t frame, Element* out) {
    const int64_t cell = layout_.cell();
    const Axis across(filters_.columns, run.cx * cell, run.count * cell, picture_.width);
    const Axis down(filters_.rows, run.cy * cell, cell, picture_.height);
    if (filters_.vertical_first) {
      const int64_t strip = round_up(across.span.size() * 4, kLanes);  // all columns at a time
      resize_strips(down, across, strip, [&](int64_t) { read_rows(planes, across, down, strip); });
    } else {
      resize_strips(across, down, kStrip,
                    [&](int64_t begin) { read_strip(planes, across, down, begin); });
    }
    const Axis &first = filters_.vertical_first ? down : across,
               &second = filters_.vertical_first ? across : down;
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < second.count; ++i) {
        second_pass(c, first, second, i);
        if (filters_.vertical_first) {
          emit_column(c, frame, i, run, out);
        } else {
          emit_row(c, frame, i, run, out);
        }
      }
    }
  }

 private:
  static constexpr int64_t kStrip = 32;  // source rows at a time

  // Outputs [begin, begin + count) of an axis and what they read.
  struct Axis {
    const QuadTaps& taps;
    int64_t begin, count;
    QuadTaps::Span span;  // quads
    int64_t stop;         // the last sample's successor

    Axis(const QuadTaps& taps, int64_t begin, int64_t count, int64_t samples)
        : taps(taps),
          begin(begin),
          count(count),
          span(taps.span(begin, begin + count)),
          stop(std::min(span.end * 4, samples)) {}
    int64_t lanes() const { return round_up(count, kLanes); }  // in the other axis' pass
  };

  // The first pass: strip_ [3, quads of `first`, strip, 4], `strip` samples along `second` at a
  // time, to middle_ [3, quads of `second`, lanes of `first`, 4].
  template <typename Read>
  void resize_strips(const Axis& first, const Axis& second, int64_t strip, const Read& read) {
    reserve(strip_, 3 * first.span.size() * strip * 4);
    reserve(middle_, 3 * second.span.size() * first.lanes() * 4);
    reserve(pass_, strip);
    for (int64_t quad = second.span.begin; quad < second.span.end; quad += strip / 4) {
      read(quad * 4);
      const int64_t quads = std::min(strip / 4, second.span.end - quad);
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t at = c * second.span.size() + quad - second.span.begin;
        first_pass(strip_.data() + c * first.span.size() * strip * 4, first, strip, quads,
                   middle_.data() + at * first.lanes() * 4);
      }
    }
  }

  void first_pass(const uint8_t* samples, const Axis& first, int64_t strip, int64_t quads,
                  uint8_t* middle) {
    for (int64_t j = 0; j < first.count; ++j) {
      weigh(first, j, samples, strip, pass_.data());
      for (int64_t q = 0; q < quads; ++q) {
        std::memcpy(middle + (q * first.lanes() + j) * 4, pass_.data() + q * 4, 4);
      }
    }
  }

  // Output i of `second`, to line_ [lanes of `first`].
  void second_pass(int64_t c, const Axis& first, const Axis& second, int64_t i) {
    const uint8_t* middle = middle_.data() + c * second.span.size() * first.lanes() * 4;
    weigh(second, i, middle, first.lanes(), line_.data());
  }

  static void weigh(const Axis& axis, int64_t i, const uint8_t* samples, int64_t lanes,
                    uint8_t* out) {
    const int64_t quad = axis.taps.first[axis.begin + i];
    if (quad < 0) {
      std::memset(out, 0, lanes);
    } else {
      const int64_t stride = lanes * 4;
      axis.taps.run(axis.begin + i, samples + (quad - axis.span.begin) * stride, stride, lanes,
                    out);
    }
  }

  // Rows [begin, begin + kStrip) as strip_ [3, quads of columns, kStrip, 4].
  void read_strip(const Sample* const planes[3], const Axis& across, const Axis& down,
                  int64_t begin) {
    const int64_t from = across.span.begin * 4;
    for (int64_t r = 0; r < kStrip && begin + r < down.stop; ++r) {
      read_row(planes, begin + r, across, 0);
      for (int64_t c = 0; c < 3; ++c) {
        uint8_t* to = strip_.data() + (c * across.span.size() * kStrip + r) * 4;
        const uint8_t* row = rgb_[0][c].data();
        for (int64_t x = 0; x < across.stop - from; x += 4) {
          std::memcpy(to + x * kStrip, row + x, 4);
        }
      }
    }
  }

  // All rows as strip_ [3, quads of rows, columns, 4].
  void read_rows(const Sample* const planes[3], const Axis& across, const Axis& down,
                 int64_t columns) {
    const int64_t width = across.stop - across.span.begin * 4;
    for (int64_t quad = 0; quad < down.span.size(); ++quad) {
      const int64_t y = (down.span.begin + quad) * 4;
      for (int64_t r = 0; r < 4 && y + r < down.stop; ++r) read_row(planes, y + r, across, r);
      for (int64_t c = 0; c < 3; ++c) {
        uint8_t* to = strip_.data() + (c * down.span.size() + quad) * columns * 4;
        zip_rows(rgb_[0][c].data(), rgb_[1][c].data(), rgb_[2][c].data(), rgb_[3][c].data(), width,
                 to);
      }
    }
  }

  void read_row(const Sample* const planes[3], int64_t y, const Axis& across, int64_t slot) {
    uint8_t* const rgb[3] = {rgb_[slot][0].data(), rgb_[slot][1].data(), rgb_[slot][2].data()};
    colour_.row(planes, y, across.span.begin * 4, across.stop, rgb);
  }

  // line_, row i of the run's cells, into the patches it belongs to.
  void emit_row(int64_t c, int64_t frame, int64_t i, const CellRun& run, Element* out) const {
    const int64_t patch = layout_.patch, merge = layout_.merge, step = layout_.step();
    const Element* levels = levels_ + c * 256;
    const uint8_t* line = line_.data();
    const int64_t offset = layout_.offset(c, frame, i % patch);
    for (int64_t k = 0; k < run.count; ++k) {
      for (int64_t mx = 0; mx < merge; ++mx, line += patch) {
        const int64_t row = (run.first + k) * layout_.rows() + i / patch * merge + mx;
        Element* to = out + row * layout_.row_size() + offset;
        for (int64_t x = 0; x < patch; ++x) to[x * step] = levels[line[x]];
      }
    }
  }

  // line_, column i of the run's cells.
  void emit_column(int64_t c, int64_t frame, int64_t i, const CellRun& run, Element* out) const {
    const int64_t patch = layout_.patch, merge = layout_.merge, step = layout_.step();
    const Element* levels = levels_ + c * 256;
    const uint8_t* line = line_.data();
    const int64_t k = i / layout_.cell(), mx = i % layout_.cell() / patch;
    for (int64_t my = 0; my < merge; ++my, line += patch) {
      const int64_t row = (run.first + k) * layout_.rows() + my * merge + mx;
      Element* to = out + row * layout_.row_size() + layout_.offset(c, frame, 0) + i % patch * step;
      for (int64_t y = 0; y < patch; ++y) to[y * patch * step] = levels[line[y]];
    }
  }

  static void reserve(std::vector<uint8_t>& buffer, int64_t size) {
    if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
  }

  Picture<Sample> picture_;
  const Filters& filters_;
  CellLayout layout_;
  const Element* levels_;
  ColourRows<Sample> colour_;
  std::vector<uint8_t> line_;       // [most outputs of a run along an axis]
  std::vector<uint8_t> rgb_[4][3];  // [width] each
  // Where weights are zero, samples are what was there before: never more than their size matters.
  std::vector<uint8_t> strip_, middle_, pass_;
};

}  // namespace patchgate
