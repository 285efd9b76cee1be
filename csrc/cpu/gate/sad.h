// Sums of absolute differences on the CPU, vectorised. Exactly the arithmetic of gate.h.
#pragma once

#include <cstdint>

#include "gate.h"

namespace patchgate {

// Which code computes: the fastest that this machine has, or (for tests) one of the others.
enum class SadPath { kFastest, kBaseline, kPortable };

// What one plane of one cell differs by.
struct Difference {
  int32_t largest;  // sub-block SAD
  int32_t sum;      // SAD of the whole cell
};

// The differences of one plane of a cell under one vector.
Difference cell_difference(const uint8_t* a, const uint8_t* b, int64_t stride_a, int64_t stride_b,
                           int cell, int sub_block, SadPath path = SadPath::kFastest);

// cost[c] = max(cost[c], largest sub-block SAD of cell c) for the w cells of one row of cells.
void row_costs(const uint8_t* a, const uint8_t* b, int64_t stride, int64_t w, int cell,
               int sub_block, int32_t* cost);

}  // namespace patchgate
