// Some rows of a large float32 matrix: copied out, and updated by SGD with momentum.
#pragma once

#include <cstdint>

#include "class_rows/class_row_loops.h"
#include "class_rows/prefetch.h"

namespace insightface {

// `indices` are `count` different rows of a matrix whose rows have `width` numbers.
struct RowIndices {
  const int64_t* indices;
  int64_t count, width;
};

// Prefetches the row of `matrix` that number `i` of `rows` is followed by, a few rows later.
template<typename T>
void PrefetchAhead(const RowIndices& rows, int64_t i, int64_t end, const T* matrix) {
  if (i + kRowsAhead < end) { PrefetchRow(matrix + rows.indices[i + kRowsAhead] * rows.width, rows.width); }
}

// target [count, width] = the rows `rows` of `matrix`.
void SelectRows(const RowIndices& rows, const float* matrix, float* target);

// momentum = rule.momentum * momentum + (gradient + weight_decay * w); w -= lr * momentum, for the rows w of `matrix`
// and those of `momenta`; gradients are [count, width]. Rounds after every operation, as OneFlow's SGD does.
void UpdateRows(const RowIndices& rows, const float* gradients, const MomentumRule& rule, float* matrix,
                float* momenta);

// Asks the system to read rows of a mapped file from the disk, all at once, and does not wait for them. `rows` are
// ascending, and `width` counts bytes.
void ReadRowsAhead(const RowIndices& rows, const char* matrix);

}  // namespace insightface
