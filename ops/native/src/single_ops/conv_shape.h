// The description of one pass of a two-dimensional convolution on dense float32 tensors.
#pragma once

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

}  // namespace insightface
