// computes          y = convolution of x with weight, + bias, by oneDNN
// reads in backward x, dy
// writes            dweight by oneDNN, Winograd's filtering (bfloat16), patch_filter_gradient.h or depthwise.h; dbias
// writes or adds    dx by oneDNN or depthwise.h (adds by way of scratch memory)
#include <algorithm>
#include <optional>

#include "base/alignment.h"
#include "base/onednn.h"
#include "base/prepared.h"
#include "network/layers/accumulate.h"
#include "network/layers/conv_descriptors.h"
#include "network/layers/conv_layer.h"
#include "network/layers/depthwise.h"
#include "network/layers/patch_filter_gradient.h"
#include "network/layers/pointwise_layer.h"
#include "network/layers/winograd_layers.h"

namespace insightface {
namespace {

using dnnl::algorithm;
using dnnl::memory;

// Forward and both gradients. The weights change at every step, so each pass converts them to oneDNN's layouts.
class TrainingConv : public SplitLayer {
 public:
  TrainingConv(int input, int output, const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry,
               const ConvArrays& arrays)
      : SplitLayer({input}, output),
        arrays_(arrays),
        type_(in.type),
        input_count_(batch * in.shape.Count()),
        is_cheap_(geometry.kernel * geometry.kernel * in.shape.channels / geometry.groups <= kFewProducts),
        descriptors_(DescribeConv(in, out, batch, geometry, arrays.bias >= 0)),
        forward_(OneDnnEngine(), dnnl::prop_kind::forward_training, algorithm::convolution_direct, descriptors_.input,
                 descriptors_.weight, descriptors_.bias, descriptors_.output, descriptors_.strides,
                 descriptors_.pad_begin, descriptors_.pad_end, CallersScratchpad()),
        to_forward_(descriptors_.plain_weight, forward_.weights_desc()),
        forward_primitive_(forward_) {}

  void Forward(const ExecutionContext& context) override {
    const void* weight = context.parameters[arrays_.weight];
    char* scratchpad = context.scratch;
    if (to_forward_.Needed()) {
      to_forward_.Run(weight, context.scratch);
      weight = context.scratch;
      scratchpad += AlignedSize(to_forward_.Bytes());
    }
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, AsMemory(descriptors_.input, context.ValueAt<void>(inputs[0]))},
        {DNNL_ARG_WEIGHTS, AsMemory(forward_.weights_desc(), weight)},
        {DNNL_ARG_DST, AsMemory(descriptors_.output, context.ValueAt<void>(output))},
        {DNNL_ARG_SCRATCHPAD, AsMemory(forward_.scratchpad_desc(), scratchpad)}};
    if (arrays_.bias >= 0) { arguments[DNNL_ARG_BIAS] = AsMemory(descriptors_.bias, context.parameters[arrays_.bias]); }
    forward_primitive_.execute(OneDnnStream(), arguments);
  }

  void GradientsOfParameters(const ExecutionContext& context) override { WeightGradient(context); }

  void GradientOfInput(const ExecutionContext& context) override {
    void* gradient = context.GradientAt<void>(inputs[0]);
    if (!uses[0].adds) {
      InputGradient(context, gradient, context.scratch);
      return;
    }
    const int64_t bytes = input_count_ * BytesOf(type_);
    InputGradient(context, context.scratch, context.scratch + AlignedSize(bytes));
    if (type_ == NumberType::kFloat32) {
      AddInto(static_cast<float*>(gradient), reinterpret_cast<float*>(context.scratch), input_count_);
    } else {
      AddInto(static_cast<BFloat16*>(gradient), reinterpret_cast<BFloat16*>(context.scratch), input_count_);
    }
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }
  // The first convolution, of three colours: a few products for each number of the largest map of all.
  bool IsCheap() const override { return is_cheap_; }

  int64_t ScratchBytes() override {
    const int64_t sum = uses[0].adds ? AlignedSize(input_count_ * BytesOf(type_)) : 0;
    return std::max({AlignedSize(to_forward_.Bytes()) + Size(forward_.scratchpad_desc()), WeightGradientScratch(),
                     sum + InputGradientScratch()});
  }

 protected:
  static constexpr int64_t kFewProducts = 27;

  static int64_t Size(const memory::desc& description) { return static_cast<int64_t>(description.get_size()); }

  // Write the gradient of the weights (and of the bias) and of the input from that of the output.
  virtual void WeightGradient(const ExecutionContext& context) = 0;
  virtual void InputGradient(const ExecutionContext& context, void* gradient, char* scratch) = 0;
  virtual int64_t WeightGradientScratch() const = 0;
  virtual int64_t InputGradientScratch() const = 0;

  const ConvArrays arrays_;
  const NumberType type_;
  const int64_t input_count_;
  const bool is_cheap_;
  const ConvDescriptors descriptors_;
  const dnnl::convolution_forward::primitive_desc forward_;
  const Reorder to_forward_;
  const dnnl::convolution_forward forward_primitive_;
};

// The gradient of the weights (and of the bias) by oneDNN.
class OneDnnFilterGradient {
 public:
  OneDnnFilterGradient(const ConvDescriptors& descriptors, const dnnl::convolution_forward::primitive_desc& forward)
      : descriptors_(descriptors),
        description_(SkipFaultyImplementation({OneDnnEngine(), algorithm::convolution_direct, descriptors.input,
                                               descriptors.weight_gradient, descriptors.bias, descriptors.output,
                                               descriptors.strides, descriptors.pad_begin, descriptors.pad_end, forward,
                                               CallersScratchpad()})),
        to_plain_(description_.diff_weights_desc(), descriptors.plain_weight),
        primitive_(description_) {}

  void Run(const void* x, const void* dy, float* gradient, float* bias_gradient, char* scratch) const {
    char* const scratchpad = scratch + (to_plain_.Needed() ? InnerBytes() : 0);
    void* const inner = to_plain_.Needed() ? static_cast<void*>(scratch) : gradient;
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, AsMemory(descriptors_.input, x)},
        {DNNL_ARG_DIFF_DST, AsMemory(descriptors_.output, dy)},
        {DNNL_ARG_DIFF_WEIGHTS, AsMemory(description_.diff_weights_desc(), inner)},
        {DNNL_ARG_SCRATCHPAD, AsMemory(description_.scratchpad_desc(), scratchpad)}};
    if (bias_gradient != nullptr) { arguments[DNNL_ARG_DIFF_BIAS] = AsMemory(descriptors_.bias, bias_gradient); }
    primitive_.execute(OneDnnStream(), arguments);
    if (to_plain_.Needed()) { to_plain_.Run(inner, gradient); }
  }

  int64_t ScratchBytes() const {
    return InnerBytes() + static_cast<int64_t>(description_.scratchpad_desc().get_size());
  }

 private:
  int64_t InnerBytes() const { return AlignedSize(static_cast<int64_t>(description_.diff_weights_desc().get_size())); }

  const ConvDescriptors descriptors_;
  const dnnl::convolution_backward_weights::primitive_desc description_;
  const Reorder to_plain_;
  const dnnl::convolution_backward_weights primitive_;
};

// The input's gradient by oneDNN; that of the weights by Winograd's filtering if the shape suits it.
class DenseConv final : public TrainingConv {
 public:
  DenseConv(int input, int output, const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry,
            const ConvArrays& arrays)
      : TrainingConv(input, output, in, out, batch, geometry, arrays),
        input_gradient_(OneDnnEngine(), algorithm::convolution_direct, descriptors_.input, descriptors_.weight,
                        descriptors_.output, descriptors_.strides, descriptors_.pad_begin, descriptors_.pad_end,
                        forward_, CallersScratchpad()),
        to_input_gradient_(descriptors_.plain_weight, input_gradient_.weights_desc()),
        input_primitive_(input_gradient_) {
    const std::optional<WinogradShape> winograd = WinogradShapeOf(in, out, batch, geometry);
    if (winograd && type_ == NumberType::kBFloat16 && arrays.bias < 0) {
      winograd_gradient_.emplace(*winograd);
    } else if (PatchFilterGradient::Suits(in, out, geometry, arrays)) {
      patch_gradient_.emplace(in, out, batch, geometry);
    } else {
      filter_gradient_.emplace(descriptors_, forward_);
    }
  }

 private:
  void WeightGradient(const ExecutionContext& context) override {
    float* const gradient = context.parameter_gradients[arrays_.weight];
    if (winograd_gradient_) {
      winograd_gradient_->Run(context.ValueAt<const BFloat16>(inputs[0]), context.GradientAt<const BFloat16>(output),
                              gradient, context.scratch);
      return;
    }
    if (patch_gradient_) {
      patch_gradient_->Run(context.ValueAt<void>(inputs[0]), context.GradientAt<void>(output), gradient, context.scratch);
      return;
    }
    float* const bias_gradient = arrays_.bias >= 0 ? context.parameter_gradients[arrays_.bias] : nullptr;
    filter_gradient_->Run(context.ValueAt<void>(inputs[0]), context.GradientAt<void>(output), gradient, bias_gradient,
                          context.scratch);
  }

  void InputGradient(const ExecutionContext& context, void* gradient, char* scratch) override {
    const void* weight = context.parameters[arrays_.weight];
    char* scratchpad = scratch;
    if (to_input_gradient_.Needed()) {
      to_input_gradient_.Run(weight, scratch);
      weight = scratch;
      scratchpad += AlignedSize(to_input_gradient_.Bytes());
    }
    input_primitive_.execute(OneDnnStream(),
                             {{DNNL_ARG_DIFF_SRC, AsMemory(descriptors_.input, gradient)},
                              {DNNL_ARG_WEIGHTS, AsMemory(input_gradient_.weights_desc(), weight)},
                              {DNNL_ARG_DIFF_DST, AsMemory(descriptors_.output, context.GradientAt<void>(output))},
                              {DNNL_ARG_SCRATCHPAD, AsMemory(input_gradient_.scratchpad_desc(), scratchpad)}});
  }

  int64_t WeightGradientScratch() const override {
    if (winograd_gradient_) { return winograd_gradient_->ScratchBytes(); }
    return patch_gradient_ ? patch_gradient_->ScratchBytes() : filter_gradient_->ScratchBytes();
  }
  int64_t InputGradientScratch() const override {
    return AlignedSize(to_input_gradient_.Bytes()) + Size(input_gradient_.scratchpad_desc());
  }

  const dnnl::convolution_backward_data::primitive_desc input_gradient_;
  const Reorder to_input_gradient_;
  const dnnl::convolution_backward_data input_primitive_;
  // Exactly one of these is set.
  std::optional<WinogradFilterGradient> winograd_gradient_;
  std::optional<PatchFilterGradient> patch_gradient_;
  std::optional<OneDnnFilterGradient> filter_gradient_;
};

// One filter per channel. Our own gradients: oneDNN's are slower, in bfloat16 up to thirty times.
template<typename T>
class DepthwiseConv final : public TrainingConv {
 public:
  DepthwiseConv(int input, int output, const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry,
                const ConvArrays& arrays)
      : TrainingConv(input, output, in, out, batch, geometry, arrays),
        shape_{batch, in.shape, out.shape, geometry.kernel, geometry.stride, geometry.pad} {}

 private:
  void WeightGradient(const ExecutionContext& context) override {
    float* const bias = arrays_.bias >= 0 ? context.parameter_gradients[arrays_.bias] : nullptr;
    DepthwiseWeightGradient(shape_, context.ValueAt<const T>(inputs[0]), context.GradientAt<const T>(output),
                            context.parameter_gradients[arrays_.weight], bias);
  }
  void InputGradient(const ExecutionContext& context, void* gradient, char*) override {
    DepthwiseInputGradient(shape_, context.GradientAt<const T>(output), context.parameters[arrays_.weight],
                           static_cast<T*>(gradient));
  }
  int64_t WeightGradientScratch() const override { return 0; }
  int64_t InputGradientScratch() const override { return 0; }

  const DepthwiseShape shape_;
};

}  // namespace

std::unique_ptr<Layer> MakeTrainingConv(int input, int output, const Value& in, const Value& out, int64_t batch,
                                        const ConvGeometry& geometry, const ConvArrays& arrays) {
  if (geometry.groups > 1 && geometry.groups == in.shape.channels && geometry.groups == out.shape.channels) {
    if (in.type == NumberType::kFloat32) {
      return std::make_unique<DepthwiseConv<float>>(input, output, in, out, batch, geometry, arrays);
    }
    return std::make_unique<DepthwiseConv<BFloat16>>(input, output, in, out, batch, geometry, arrays);
  }
  std::unique_ptr<Layer> pointwise = MakePointwiseTraining(input, output, in, out, batch, geometry, arrays);
  if (pointwise != nullptr) { return pointwise; }
  std::unique_ptr<Layer> winograd = MakeWinogradTraining(input, output, in, out, batch, geometry, arrays);
  if (winograd != nullptr) { return winograd; }
  return std::make_unique<DenseConv>(input, output, in, out, batch, geometry, arrays);
}

}  // namespace insightface
