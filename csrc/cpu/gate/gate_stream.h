// One stream of the motion gate on the CPU: its state, and the stages one frame goes through.
#pragma once

#include <vector>

#include "cpu/gate/search_window.h"
#include "cpu/gate/subpixel.h"
#include "gate_call.h"
#include "gate_light.h"

namespace patchgate {

class GateStream {
 public:
  GateStream(const GateShape& shape, const GateRules& rules, const GateState& state)
      : shape_(shape), rules_(rules), state_(state), cells_(shape.cells()), zero_(shape.cells()) {}

  // The stages, in order. Those named after a row or a cell may run in parallel.
  void begin(const uint8_t* frame);  // [f, C, H, W]
  void zero_test_row(int64_t row);
  void find_light();
  bool is_relit() const { return is_relit_; }
  void relight_row(int64_t row);
  void decide_static(int32_t* limit);
  const std::vector<int64_t>& failed() const { return failed_; }  // cells that need more
  void search_cell(int64_t n, SearchWindow& window);
  bool decide_cut();  // true: a scene cut, every cell is encoded
  void reuse_motion();
  Vector dominant_motion() const;
  void follow_cell(int64_t n, Vector dominant);
  void tighten_beside_changed();
  void expire();
  void expire_light();
  void finish(const GateResult& result);
  void write_light(const GateResult& result);
  void write_picture();

 private:
  // What the stages know about one cell.
  struct Cell {
    Kind kind = kChanged;
    Vector motion{0, 0};               // in steps of 1 / precision pixels, as all vectors here
    int32_t cost = 0;                  // of `motion`
    int32_t least = kUntested;         // the least cost tested
    int32_t limit = 0;                 // what a passing cost may not exceed
    Match minimum{kUntested, {0, 0}};  // the search's
    int32_t minimum_cost = kUntested;

    bool found() const { return kind == kChanged && minimum_cost <= limit; }
  };

  // One vector tried on one cell.
  struct Trial {
    int32_t cost;       // the largest sub-block SAD of any plane
    int32_t objective;  // the search's: luma SAD of the whole cell plus the vector's price
  };

  bool is_first() const { return state_.clock[0] == 0; }
  int32_t frame_limit();
  Trial test(int64_t n, Vector v) const;
  bool is_legal(int64_t n, Vector v) const;
  Block block_then(int64_t n, Vector v, int64_t plane) const;
  int64_t ids_offset(int64_t n, Vector v) const;
  bool is_textured(int64_t n) const;
  bool beside_changed(int64_t n) const;
  int64_t source(int64_t n) const;
  int32_t plain_limit(int64_t n) const;  // before noise is looked at
  bool is_doubtful(int64_t n) const;
  bool is_light_doubtful() const;
  std::vector<int64_t> glanced_cells() const;
  std::vector<int64_t> doubtful_cells() const;
  LightWeights weights_in(const std::vector<int64_t>& cells, int64_t plane, int64_t eighths) const;
  int32_t* light_at(int64_t plane, int k) const;  // [N]
  bool stays_near(int64_t n) const;
  int32_t light_brought(int64_t n, int64_t plane, int k) const;
  void copy_block(int64_t n, Vector from, uint8_t* pixels, int32_t* ids) const;
  void paste_block(int64_t n, const uint8_t* pixels, const int32_t* ids);
  void encode_block(int64_t n);

  const GateShape shape_;
  const GateRules rules_;
  const GateState state_;
  const uint8_t* frame_ = nullptr;
  int64_t number_ = 0;                    // of the frame, since the reset
  std::vector<Cell> cells_;               // [N]
  std::vector<int32_t> zero_;             // [N]
  std::vector<int64_t> failed_;           // cells that the zero test did not pass
  std::vector<int64_t> moved_, changed_;  // what the frame's cells turned out to be
  std::vector<LightWeights> weights_;     // [f * C]
  std::vector<uint8_t> lit_;              // [N] cells of the reference that took them
  bool is_relit_ = false;
};

}  // namespace patchgate
