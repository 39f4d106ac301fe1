// Depthwise 3x3 convolution in inference, line by line, in one group with the row by row layers that follow it.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/conv_layer.h"
#include "network/layers/folding.h"

namespace insightface {

// Turns the filters of a depthwise 3x3 convolution, [channels, taps], into [taps, channels].
FoldedWeights::ToInner FiltersByTap(int64_t channels);

// With the layers folded into it; null if the convolution is none that FitsDepthwiseUnit, or if an addition follows it.
std::unique_ptr<Layer> MakeDepthwiseInference(const std::vector<int>& inputs, int output, const Value& in,
                                              const Value& out, int64_t batch, const ConvGeometry& geometry,
                                              const ConvArrays& arrays, const ConvEpilogue& epilogue);

}  // namespace insightface
