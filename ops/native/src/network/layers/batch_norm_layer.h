// Batch normalisation (Ioffe and Szegedy, 2015) with the PReLU or addition that usually follows it.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

// The numbers of the layer's arrays in the network; -1 for none.
struct BatchNormArrays {
  int gamma;  // -1: fixed to one
  int beta;
  int moving_mean;
  int moving_variance;
  int slope;  // of the PReLU that follows
};

// Which statistics normalise, and whether there is a backward pass.
enum class NormStatistics {
  kBatch,     // training: those of the batch, which update the moving ones with the unbiased variance
  kConstant,  // training: the moving ones, which do not change; the gradient does not pass through them
  kMoving,    // inference: the moving ones
};

// Inputs are the value and, if there is one, the addend. New moving value = momentum * old + (1 - momentum) * new.
std::unique_ptr<Layer> MakeBatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                                          const BatchNormArrays& arrays, float epsilon, float momentum,
                                          NormStatistics statistics);

}  // namespace insightface
