#include "network/layers/conv_descriptors.h"

#include "base/onednn.h"

namespace insightface {

using dnnl::memory;

ConvDescriptors DescribeConv(const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry,
                             bool has_bias) {
  const int64_t kernel = geometry.kernel, groups = geometry.groups;
  const int64_t filters = out.shape.channels, channels = in.shape.channels / groups;
  const memory::dims weight = groups == 1 ? memory::dims{filters, channels, kernel, kernel}
                                          : memory::dims{groups, filters / groups, channels, kernel, kernel};
  const auto plain = groups == 1 ? memory::format_tag::oihw : memory::format_tag::goihw;
  const auto any = memory::format_tag::any, last = memory::format_tag::nhwc;
  const auto type = OneDnnType(in.type), f32 = memory::data_type::f32;
  const auto end = [&](int64_t in_size, int64_t out_size) {
    return (out_size - 1) * geometry.stride + kernel - in_size - geometry.pad;
  };
  ConvDescriptors result;
  result.input = {{batch, in.shape.channels, in.shape.height, in.shape.width}, type, last};
  result.output = {{batch, filters, out.shape.height, out.shape.width}, type, last};
  result.weight = {weight, type, any};
  result.weight_gradient = {weight, f32, any};
  result.plain_weight = {weight, f32, plain};
  if (has_bias) { result.bias = {{filters}, f32, memory::format_tag::x}; }
  result.strides = {geometry.stride, geometry.stride};
  result.pad_begin = {geometry.pad, geometry.pad};
  result.pad_end = {end(in.shape.height, out.shape.height), end(in.shape.width, out.shape.width)};
  result.weight_count = filters * channels * kernel * kernel;
  return result;
}

}  // namespace insightface
