// Batch normalisation (Ioffe and Szegedy, 2015) with what usually follows it: a PReLU, or the addition of another
// value.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

// Numbers of the layer's arrays in the network; -1 for none.
struct BatchNormArrays {
  int gamma;  // none: pinned to one
  int beta;
  int moving_mean;
  int moving_variance;
  int slope;  // of the PReLU that follows
};

// Training: statistics of the batch, moving statistics updated with the unbiased variance. Otherwise the moving ones.
// Inputs are the value and, where there is one, the addend. New moving value = momentum * old + (1 - momentum) * new.
std::unique_ptr<Layer> MakeBatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                                          const BatchNormArrays& arrays, float epsilon, float momentum, bool training);

}  // namespace insightface
