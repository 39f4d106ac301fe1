// Some rows of a large bfloat16 matrix: widened to float32, set, and updated by SGD with momentum. Arithmetic is
// float32; what is stored is rounded at random (random_rounding.h).
#pragma once

#include "class_rows/random_rounding.h"
#include "class_rows/row_bank.h"

namespace insightface {

// target [count, width] = the rows `rows` of `matrix`.
void WidenRows(const RowIndices& rows, const BFloat16* matrix, float* target);

// The rows `rows` of `matrix`, which is `array`, = values [count, width].
void RoundRows(const RowIndices& rows, const float* values, const RowDraws& draws, RowArray array, BFloat16* matrix);

// What UpdateRows does; the row moves by the momentum before it is rounded.
void UpdateBFloat16Rows(const RowIndices& rows, const float* gradients, const MomentumRule& rule, const RowDraws& draws,
                        BFloat16* matrix, BFloat16* momenta);

}  // namespace insightface
