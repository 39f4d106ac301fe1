// Convolution layers that compute by Winograd's filtering.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "network/arithmetic/winograd.h"
#include "network/layers/conv_layer.h"

namespace insightface {

// The convolution as Winograd's filtering sees it; nothing where that does not fit, or does not win.
std::optional<WinogradShape> FindWinogradShape(const Value& in, const Value& out, int64_t batch,
                                               const ConvGeometry& geometry);

// float32 maps only. Null where Winograd's filtering does not fit the convolution, or does not win.
std::unique_ptr<Layer> MakeWinogradTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                            const ConvGeometry& geometry, const ConvArrays& arrays);
std::unique_ptr<Layer> MakeWinogradInference(const std::vector<int>& inputs, int output, const Value& in,
                                             const Value& out, int64_t batch, const ConvGeometry& geometry,
                                             const ConvArrays& arrays, const ConvEpilogue& epilogue);

}  // namespace insightface
