// Products of a batch of vectors with rows that are chosen from a large matrix, and their gradients, without a copy of
// the rows: they are fetched piece by piece into the processor's cache and scaled to unit length there.
#pragma once

#include <cstdint>

namespace insightface {

// Rows of a float32 matrix of `width` columns. `ops/native/rows.py` fills it in; graphs know it by its address.
struct RowsInPlace {
  const float* matrix;
  const int64_t* indices;  // `count` row numbers; null for the first `count` rows
  int64_t count, width;
  float* gradients;  // [count, width], where the backward pass leaves the rows' gradients
};

// `batch` vectors with as many numbers as a row.
struct RowVectors {
  const float* values;
  int64_t batch;
};

// products [batch, slots]: of each vector with each row, and 0 from column `rows.count` on. With an epsilon above 0 rows
// count as x / sqrt(max(sum x^2, epsilon)), with 0 as they are.
void MultiplyRows(const RowsInPlace& rows, const RowVectors& vectors, int64_t slots, float epsilon, float* products);

// From the gradients [batch, slots] of the products those of the vectors, [batch, width], and of the rows.
void MultiplyRowsGrad(const RowsInPlace& rows, const RowVectors& vectors, int64_t slots, float epsilon,
                      const float* product_gradients, float* vector_gradients);

}  // namespace insightface
