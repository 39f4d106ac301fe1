// Depthwise convolution whose kernel covers the whole input and leaves one output per channel (the global depthwise
// convolution at the end of MobileFaceNet): one dot product per plane.
#pragma once

#include "single_ops/conv_shape.h"

namespace insightface {

bool IsGlobalDepthwise(const ConvShape& shape);

// Computes one pass; see RunConv.
void RunGlobalDepthwise(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors);

}  // namespace insightface
