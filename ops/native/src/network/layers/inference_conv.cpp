// computes          y = convolution of x with weight, + bias; batch normalisation folded into weight and bias, then
//                   PReLU and + addend, by oneDNN
// reads in backward nothing: there is no backward pass
#include "base/onednn.h"
#include "base/prepared.h"
#include "network/layers/conv_descriptors.h"
#include "network/layers/conv_layer.h"
#include "network/layers/depthwise_inference.h"
#include "network/layers/folding.h"
#include "network/layers/pointwise_layer.h"
#include "network/layers/winograd_layers.h"

namespace insightface {
namespace {

using dnnl::algorithm;
using dnnl::memory;

dnnl::primitive_attr MakeAttributes(const ConvDescriptors& descriptors, const ConvEpilogue& epilogue, bool adds) {
  dnnl::primitive_attr attributes = CallersScratchpad();
  dnnl::post_ops operations;
  if (epilogue.slope >= 0) { operations.append_prelu(1 << 1); }
  if (adds) { operations.append_binary(algorithm::binary_add, descriptors.output); }
  attributes.set_post_ops(operations);
  return attributes;
}

class InferenceConv final : public Layer {
 public:
  InferenceConv(const std::vector<int>& inputs, int output, const Value& in, const Value& out, int64_t batch,
                const ConvGeometry& geometry, const ConvArrays& arrays, const ConvEpilogue& epilogue)
      : Layer(inputs, output),
        epilogue_(epilogue),
        has_bias_(arrays.bias >= 0 || epilogue.has_batch_norm),
        descriptors_(DescribeConv(in, out, batch, geometry, has_bias_)),
        description_(OneDnnEngine(), dnnl::prop_kind::forward_inference, algorithm::convolution_direct,
                     descriptors_.input, descriptors_.weight, descriptors_.bias, descriptors_.output,
                     descriptors_.strides, descriptors_.pad_begin, descriptors_.pad_end,
                     MakeAttributes(descriptors_, epilogue, inputs.size() > 1)),
        slope_({{out.shape.channels}, memory::data_type::f32, memory::format_tag::x}),
        weights_(arrays, epilogue, out.shape.channels, descriptors_.weight_count / out.shape.channels,
                 Reorder(descriptors_.plain_weight, description_.weights_desc())),
        primitive_(description_) {}

  void Forward(const ExecutionContext& context) override {
    weights_.Prepare(context);
    const dnnl::engine& engine = OneDnnEngine();
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, {descriptors_.input, engine, context.ValueAt<void>(inputs[0])}},
        {DNNL_ARG_WEIGHTS, {description_.weights_desc(), engine, weights_.weight()}},
        {DNNL_ARG_DST, {descriptors_.output, engine, context.ValueAt<void>(output)}},
        {DNNL_ARG_SCRATCHPAD, {description_.scratchpad_desc(), engine, context.scratch}}};
    if (has_bias_) { arguments[DNNL_ARG_BIAS] = memory(descriptors_.bias, engine, weights_.bias()); }
    int operation = 0;
    if (epilogue_.slope >= 0) {
      float* const slope = const_cast<float*>(context.parameters[epilogue_.slope]);
      arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(operation++) | DNNL_ARG_WEIGHTS] = memory(slope_, engine, slope);
    }
    if (inputs.size() > 1) {
      arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(operation) | DNNL_ARG_SRC_1] =
          memory(descriptors_.output, engine, context.ValueAt<void>(inputs[1]));
    }
    primitive_.execute(OneDnnStream(), arguments);
  }

  void Backward(const ExecutionContext&) override {}

  int64_t CopyBytes() const override { return weights_.Bytes(); }
  int64_t ScratchBytes() override { return static_cast<int64_t>(description_.scratchpad_desc().get_size()); }

 private:
  const ConvEpilogue epilogue_;
  const bool has_bias_;
  const ConvDescriptors descriptors_;
  const dnnl::convolution_forward::primitive_desc description_;
  const memory::desc slope_;
  FoldedWeights weights_;
  const dnnl::convolution_forward primitive_;
};

}  // namespace

std::unique_ptr<Layer> MakeInferenceConv(const std::vector<int>& inputs, int output, const Value& in, const Value& out,
                                         int64_t batch, const ConvGeometry& geometry, const ConvArrays& arrays,
                                         const ConvEpilogue& epilogue) {
  std::unique_ptr<Layer> pointwise =
      MakePointwiseInference(inputs, output, in, out, batch, geometry, arrays, epilogue);
  if (pointwise != nullptr) { return pointwise; }
  std::unique_ptr<Layer> depthwise =
      MakeDepthwiseInference(inputs, output, in, out, batch, geometry, arrays, epilogue);
  if (depthwise != nullptr) { return depthwise; }
  std::unique_ptr<Layer> winograd = MakeWinogradInference(inputs, output, in, out, batch, geometry, arrays, epilogue);
  if (winograd != nullptr) { return winograd; }
  return std::make_unique<InferenceConv>(inputs, output, in, out, batch, geometry, arrays, epilogue);
}

}  // namespace insightface
