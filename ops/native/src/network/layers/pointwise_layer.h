// Convolution of 1x1 filters as products of row blocks, which the layers before and after it process while they are in
// the caches.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// Null if the convolution is not such a product, or has more weights than a thread's second cache holds.
std::unique_ptr<Layer> MakePointwiseTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry, const ConvArrays& arrays);

// In inference, with the layers folded into it. Null if the convolution is not such a product.
std::unique_ptr<Layer> MakePointwiseInference(const std::vector<int>& inputs, int output, const Value& in,
                                              const Value& out, int64_t batch, const ConvGeometry& geometry,
                                              const ConvArrays& arrays, const ConvEpilogue& epilogue);

}  // namespace insightface
