// Some rows of a large float32 matrix: fetched, and updated by SGD with momentum.
#pragma once

#include <cstdint>

namespace insightface {

// `indices` are `count` different rows of a matrix whose rows have `width` numbers.
struct RowChoice {
  const int64_t* indices;
  int64_t count, width;
};

struct MomentumRule {
  float lr, momentum, weight_decay;
};

// target [count, width] = the chosen rows of `matrix`.
void TakeRows(const RowChoice& choice, const float* matrix, float* target);

// buffer = momentum * buffer + (gradient + weight_decay * w); w -= lr * buffer, for the chosen rows w of `matrix` and
// those of `buffers`; gradients are [count, width]. Rounded after every operation, as OneFlow's SGD is.
void UpdateRows(const RowChoice& choice, const float* gradients, const MomentumRule& rule, float* matrix,
                float* buffers);

}  // namespace insightface
