// Gradients of depthwise convolutions (one filter per channel), channels last, that are not part of a depthwise_unit.h.
#pragma once

#include "network/arithmetic/value.h"

namespace insightface {

struct DepthwiseShape {
  int64_t batch;
  ValueShape in, out;
  int64_t kernel;
  int64_t stride;
  int64_t pad;
};

// Computes the gradient of the input from that of the output; weight is [channels, 1, kernel, kernel].
void DepthwiseInputGradient(const DepthwiseShape& shape, const float* dy, const float* weight, float* dx);
void DepthwiseInputGradient(const DepthwiseShape& shape, const BFloat16* dy, const float* weight, BFloat16* dx);

// Computes the gradients of the weight and, unless null, of the bias.
void DepthwiseWeightGradient(const DepthwiseShape& shape, const float* x, const float* dy, float* weight, float* bias);
void DepthwiseWeightGradient(const DepthwiseShape& shape, const BFloat16* x, const BFloat16* dy, float* weight,
                             float* bias);

}  // namespace insightface
