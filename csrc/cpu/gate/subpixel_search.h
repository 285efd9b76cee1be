// The second half of a cell's motion search: fractions of a pixel around its best whole vector.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/gate/subpixel.h"
#include "gate_call.h"

namespace patchgate {

class SubpixelSearch {
 public:
  // The better ones of a cell's eight neighbours half a pixel around `start`, then (precision 4) of
  // those a quarter around the best so far; vectors in steps. `now` and `then` are [f, C, H, W].
  Match best(const uint8_t* now, const uint8_t* then, const GateShape& shape, int64_t n,
             const GateRules& rules, Match start);

 private:
  void copy_cell(const uint8_t* now, const GateShape& shape, int64_t n);
  int32_t sad(Vector quarters);

  SubpixelWindow window_;
  int64_t cell_ = 0, frames_ = 0, count_ = 0;
  std::vector<uint8_t> now_, mask_;  // laid out as the window's frames, from the cell's corner on
};

}  // namespace patchgate
