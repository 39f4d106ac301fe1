// Updates of parameters within the backward pass: each as soon as its gradient is complete, so that the gradients of all
// parameters never need memory at the same time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "class_rows/class_row_loops.h"

namespace insightface {

// The update of one parameter by SGD with momentum.
struct ParameterUpdate {
  float* momentum;  // null: the parameter stays as it is
  MomentumRule rule;
};

// Filled by ops/native/network.py, which has the same structures.
struct Updates {
  const ParameterUpdate* parameters;
  int64_t measures;  // whether to add the squares of the gradients to `squares`
  int64_t skipped;   // set where a gradient of the embeddings is not finite: then nothing is updated
  double squares;

  // Called before the backward pass; `count` gradients of embeddings.
  void Begin(const float* embedding_gradients, int64_t count);
  // Uses up the gradient of `count` numbers of a parameter, from number `first` on; `weight` is the whole parameter.
  void Apply(int parameter, int64_t first, int64_t count, const float* gradient, float* weight);
};

}  // namespace insightface
