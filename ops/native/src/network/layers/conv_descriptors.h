// oneDNN's descriptions of the tensors of a convolution.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "network/layers/conv_layer.h"

namespace insightface {

struct ConvDescriptors {
  dnnl::memory::desc input, output;    // channels last
  dnnl::memory::desc weight;           // of the number type of the maps, any layout
  dnnl::memory::desc weight_gradient;  // float32, any layout
  dnnl::memory::desc plain_weight;     // the layout of the network's array: float32, dense
  dnnl::memory::desc bias;             // float32; empty without a bias
  dnnl::memory::dims strides, pad_begin, pad_end;
  int64_t weight_count;
};

ConvDescriptors DescribeConv(const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry,
                             bool has_bias);

}  // namespace insightface
