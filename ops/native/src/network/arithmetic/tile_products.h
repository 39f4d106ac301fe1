// Products of a few rows of float32 matrices with 32 columns, for Winograd's filtering: both factors and the result
// stay in the caches, and a block of the result stays in registers.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"

namespace insightface {

constexpr int64_t kPanelColumns = 32;
constexpr int64_t kPanelRows = 12;  // at most

struct TileProducts {
  // c = a b: a is [rows, inner], b [inner, 32], c [rows, 32].
  void (*MultiplyPanel)(const float* a, int64_t rows, int64_t inner, const float* b, float* c);
};
INSIGHTFACE_LOOPS(TileProducts, kTileProducts)

}  // namespace insightface
