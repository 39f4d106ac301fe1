// Convolution layers by Winograd's filtering in AVX-512 registers.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/conv_layer.h"

namespace insightface {

// Null if Winograd's filtering does not apply to the convolution or would not be faster on this processor.
std::unique_ptr<Layer> MakeFusedWinogradTraining(int input, int output, const Value& in, const Value& out,
                                                 int64_t batch, const ConvGeometry& geometry, const ConvArrays& arrays);
std::unique_ptr<Layer> MakeFusedWinogradInference(const std::vector<int>& inputs, int output, const Value& in,
                                                  const Value& out, int64_t batch, const ConvGeometry& geometry,
                                                  const ConvArrays& arrays, const ConvEpilogue& epilogue);

}  // namespace insightface
