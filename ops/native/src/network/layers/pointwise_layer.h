// Convolution of 1x1 filters in training, as products of rows that BatchNorm has just written or is about to read.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// float32 maps only. Null where the convolution is no such product, or where oneDNN's own convolution is as good.
std::unique_ptr<Layer> MakePointwiseTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry, const ConvArrays& arrays);

}  // namespace insightface
