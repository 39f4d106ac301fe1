// A batch normalisation, the PReLU after it, if any, and the depthwise 3x3 convolution that reads it, as one layer in
// training: the normalised map exists only line by line.
#pragma once

#include <memory>

#include "network/layers/batch_norm_layer.h"
#include "network/layers/conv_layer.h"

namespace insightface {

// Whether the layer can compute a convolution of `channels` to `filters` channels.
bool FitsDepthwiseUnit(const ConvGeometry& geometry, int64_t channels, int64_t filters, bool has_bias);

// `arrays` are those of the normalisation and of the PReLU.
std::unique_ptr<Layer> MakeDepthwiseUnit(int input, int output, const Value& in, const Value& out, int64_t batch,
                                         int64_t stride, int weight, const BatchNormArrays& arrays, float epsilon,
                                         float momentum, NormStatistics statistics);

}  // namespace insightface
