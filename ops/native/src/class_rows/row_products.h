// Products of a batch of vectors with selected rows of a large matrix, and their gradients, without a copy of the rows:
// blocks of them are read into the processor's cache, widened to float32 and scaled to unit length there.
#pragma once

#include <cstdint>

namespace insightface {

// The rows of a float32 or bfloat16 matrix of `width` columns that a graph computes with. The graph holds its address, in a float64
// tensor with one element per rank. A double holds every address exactly (they have 48 bits), and unlike an integer
// tensor it can have a gradient. That gradient is a zero that only orders execution: it exists once the backward op has
// written the rows' gradients to `gradients`. Python (RowsHandle in ops/native/rows.py) owns the structure and keeps it
// and its arrays in place as long as a graph may use them.
struct RowsHandle {
  const void* matrix;
  const int64_t* indices;  // `count` row numbers; null for the first `count` rows
  int64_t count, width;
  int64_t is_bfloat16;  // the type of `matrix`: 0 for float32
  float* gradients;     // float32 [count, width], where the backward pass writes the rows' gradients
};

// `batch` vectors, each as wide as a row.
struct RowVectors {
  const float* values;
  int64_t batch;
};

// products [batch, slots]: of each vector with each row, and 0 from column `rows.count` on. With an epsilon above 0
// rows count as x / sqrt(max(sum x^2, epsilon)), with 0 as they are.
void MultiplyRows(const RowsHandle& rows, const RowVectors& vectors, int64_t slots, float epsilon, float* products);

// Computes the gradients of the vectors, [batch, width], and of the rows from those of the products, [batch, slots].
void MultiplyRowsGrad(const RowsHandle& rows, const RowVectors& vectors, int64_t slots, float epsilon,
                      const float* product_gradients, float* vector_gradients);

}  // namespace insightface
