// Convolution of 1x1 filters in training, as products of row blocks that the batch normalisations before and after it
// process while they are in the caches.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// float32 maps only. Null if the convolution is not such a product, or if oneDNN's own convolution is as fast.
std::unique_ptr<Layer> MakePointwiseTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry, const ConvArrays& arrays);

}  // namespace insightface
