// Products of two float32 matrices by oneDNN.
#pragma once

#include <cstdint>

namespace insightface {

// out [rows, columns] = a b, where a is [rows, inner] or, transposed, [inner, rows], and b [inner, columns] or
// [columns, inner].
struct MatmulShape {
  int64_t rows, inner, columns;
  int64_t a_transposed, b_transposed;
};

// out = alpha * a b, or out + alpha * a b if it `adds`.
void Matmul(const MatmulShape& shape, const float* a, const float* b, float alpha, bool adds, float* out);

}  // namespace insightface
