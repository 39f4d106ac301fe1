// The fully connected layer, by oneDNN, on a feature map or a flat value. Its result is float32 in every mode: what
// follows it is small, and becomes the embedding.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// `flat` values are numbered as the network's weights have them: channel after channel of the map `in`.
std::unique_ptr<Layer> MakeDenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch,
                                      const ConvArrays& arrays, bool training);

}  // namespace insightface
