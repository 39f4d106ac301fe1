// Two-dimensional convolution and its gradients on dense float32 tensors, by oneDNN, or by code of our own where the
// kernel covers a whole channel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace insightface {

// Input [batch, in_channels, in_h, in_w], filter [out_channels, in_channels / groups, kernel_h, kernel_w], output
// [batch, out_channels, out_h, out_w]. The padding after the last row and column follows from the output's size.
struct ConvShape {
  int64_t batch, groups;
  int64_t in_channels, in_h, in_w;
  int64_t out_channels, out_h, out_w;
  int64_t kernel_h, kernel_w;
  int64_t stride_h, stride_w;
  int64_t dilation_h, dilation_w;  // 1 for a dense kernel
  int64_t pad_top, pad_left;
};

enum class ConvPass { kForward, kDataGrad, kFilterGrad };

// The forward pass reads input, filter and bias (may be null) and writes output. The gradients take the gradient of
// the output in `output`: kDataGrad reads filter and writes input, kFilterGrad reads input and writes filter.
struct ConvTensors {
  float* input;
  float* filter;
  float* output;
  float* bias;
};

// Bytes of workspace that RunConv wants for these arguments.
size_t ConvWorkspaceBytes(ConvPass pass, const ConvShape& shape, bool has_bias);

// Computes one pass. A workspace smaller than ConvWorkspaceBytes is replaced by memory of its own.
// Throws dnnl::error when oneDNN refuses.
void RunConv(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors, void* workspace,
             size_t workspace_bytes);

}  // namespace insightface
