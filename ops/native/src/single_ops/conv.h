// Two-dimensional convolution and its gradients on dense float32 tensors, by oneDNN, or by code of our own where the
// kernel covers a whole channel.
#pragma once

#include <cstddef>

#include "single_ops/conv_shape.h"

namespace insightface {

// Bytes of workspace that RunConv wants for these arguments.
size_t ConvWorkspaceBytes(ConvPass pass, const ConvShape& shape, bool has_bias);

// Computes one pass. A workspace smaller than ConvWorkspaceBytes is replaced by memory of its own.
// Throws dnnl::error when oneDNN refuses.
void RunConv(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors, void* workspace,
             size_t workspace_bytes);

}  // namespace insightface
