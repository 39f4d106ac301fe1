// The fully connected layer, by oneDNN, on a feature map or a flat value. Its result is always float32: the
// layers after it are small and compute the embedding.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// The weights number the values of a flat input channel after channel of the map `in`.
std::unique_ptr<Layer> MakeDenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch,
                                      const ConvArrays& arrays, bool training);
std::unique_ptr<Layer> MakeTrainingDense(int input, int output, const Value& in, int64_t units, int64_t batch,
                                         const ConvArrays& arrays);

}  // namespace insightface
