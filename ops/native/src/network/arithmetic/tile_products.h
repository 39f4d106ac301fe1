// Products of float32 matrices for Winograd's filtering: both factors and the result stay in the caches, and a block of
// the result stays in registers.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "network/arithmetic/upcoming.h"

namespace insightface {

constexpr int64_t kPanelColumns = 32;
constexpr int64_t kPanelRows = 12;  // at most

struct TileProducts {
  // c = a b: a is [rows, inner], b [inner, 32], c [rows, 32]; at most 12 rows. Lines that the caller needs next, at most
  // `inner`, are prefetched meanwhile.
  void (*MultiplyPanel)(const float* a, int64_t rows, int64_t inner, const float* b, float* c, Upcoming::Lines next);
  // c = a^T b (+ c): a is [rows, 16]; b [rows, 16], then, `b_step` numbers from the first, [rows, 16] again; c [16, 32],
  // its rows `c_step` numbers apart.
  void (*MultiplyTransposed)(const float* a, const float* b, int64_t b_step, int64_t rows, bool adds, float* c,
                             int64_t c_step);
};
INSIGHTFACE_LOOPS(TileProducts, kTileProducts)

}  // namespace insightface
