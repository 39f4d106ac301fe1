// A 1x1 convolution and the depthwise 3x3 convolution that alone reads its result, as one layer in inference: the map
// between them, the widest of an inverted residual unit, exists only as some lines of 8 to 64 channels.
#pragma once

#include <memory>

#include "network/layers/conv_layer.h"

namespace insightface {

// Whether the layer can compute `expand`, from `in` to `wide`, followed by `depthwise`, from `wide` to `out`.
bool FitsExpandedDepthwise(const ConvGeometry& expand, const ConvGeometry& depthwise, const Value& in, const Value& wide,
                           const Value& out, int64_t batch);

// A convolution with the layers folded into it.
struct FoldedConv {
  ConvArrays arrays;
  ConvEpilogue epilogue;
};

// For convolutions that fit; `stride` is that of the depthwise one.
std::unique_ptr<Layer> MakeExpandedDepthwise(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             int64_t stride, const FoldedConv& expand, const FoldedConv& depthwise);

}  // namespace insightface
