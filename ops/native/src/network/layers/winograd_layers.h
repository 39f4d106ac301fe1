// Convolution layers by Winograd's filtering.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "network/arithmetic/winograd.h"
#include "network/layers/conv_layer.h"

namespace insightface {

// The convolution's shape for Winograd's filtering; nothing if it does not apply or would not be faster.
std::optional<WinogradShape> WinogradShapeOf(const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry);

// Null if Winograd's filtering does not apply to the convolution or would not be faster on this processor.
std::unique_ptr<Layer> MakeWinogradTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                            const ConvGeometry& geometry, const ConvArrays& arrays);
std::unique_ptr<Layer> MakeWinogradInference(const std::vector<int>& inputs, int output, const Value& in,
                                             const Value& out, int64_t batch, const ConvGeometry& geometry,
                                             const ConvArrays& arrays, const ConvEpilogue& epilogue);

}  // namespace insightface
