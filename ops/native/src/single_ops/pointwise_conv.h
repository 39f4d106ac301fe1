// 1x1 convolution as one matrix product per image: in OneFlow's layout an image is a matrix [channels, pixels] already,
// so nothing has to be moved into oneDNN's own layouts and back.
#pragma once

#include "single_ops/conv_shape.h"

namespace insightface {

// True where matrix products are the faster way: few pixels make them too narrow.
bool IsPointwise(const ConvShape& shape);

// Computes one pass; see RunConv.
void RunPointwise(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors);

}  // namespace insightface
