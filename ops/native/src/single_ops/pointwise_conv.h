// 1x1 convolution as one matrix product per image: in OneFlow's layout an image is a matrix [channels, pixels],
// so nothing needs conversion to oneDNN's layouts and back.
#pragma once

#include "single_ops/conv_shape.h"

namespace insightface {

// True where matrix products are faster; with few pixels they are too narrow.
bool IsPointwise(const ConvShape& shape);

// Computes one pass; see RunConv.
void RunPointwise(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors);

}  // namespace insightface
