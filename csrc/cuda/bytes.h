// Rows of bytes at any address, read as words.
#pragma once

#include "cuda/device.h"

namespace patchgate {

// Keeps the bytes of word k that belong to a row of `size` bytes.
__device__ __forceinline__ uint32_t keep_mask(int size, int k) {
  const int bytes = size - 4 * k;
  return bytes >= 4 ? ~0u : (1u << 8 * bytes) - 1;
}

// A row of bytes at any address, four at a time. Read are the aligned words that hold a byte of the
// row, no others: allocations end on a word, so a word with a byte in bounds is in bounds.
struct RowReader {
  const uint32_t* words;
  uint32_t shift, low;
  int bytes_left;  // that no read word holds

  __device__ __forceinline__ RowReader(const uint8_t* row, int size) {
    const auto address = reinterpret_cast<uintptr_t>(row);
    const int skipped = static_cast<int>(address % 4);
    words = reinterpret_cast<const uint32_t*>(address - skipped);
    shift = 8 * skipped;
    low = load_word(words++);
    bytes_left = size + skipped - 4;
  }

  // The next four bytes; those past the row's end are rubbish.
  __device__ __forceinline__ uint32_t next() {
    const uint32_t high = bytes_left > 0 ? load_word(words++) : 0;
    bytes_left -= 4;
    const uint32_t bytes = __funnelshift_r(low, high, shift);
    low = high;
    return bytes;
  }
};

}  // namespace patchgate
