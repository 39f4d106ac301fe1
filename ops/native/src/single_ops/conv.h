// Two-dimensional convolution and its gradients on dense float32 tensors, by oneDNN; by simpler
// code where the kernel covers a whole channel or a single pixel.
#pragma once

#include <cstddef>

#include "single_ops/conv_shape.h"

namespace insightface {

// The bytes of workspace that RunConv needs for these arguments.
size_t ConvWorkspaceBytes(ConvPass pass, const ConvShape& shape, bool has_bias);

// Computes one pass. Allocates a workspace if the one given is smaller than ConvWorkspaceBytes.
// Throws dnnl::error if oneDNN does not support the convolution.
void RunConv(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors, void* workspace,
             size_t workspace_bytes);

}  // namespace insightface
