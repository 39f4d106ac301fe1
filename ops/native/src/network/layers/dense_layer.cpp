// computes          y [batch, units] = x weight^T + bias, float32 also for bfloat16 x
// reads in backward x, dy (rounded to bfloat16 if x is)
// writes            dweight = dy^T x, dbias = sum of dy
// writes or adds    dx = dy weight
#include "network/layers/dense_layer.h"

#include <algorithm>
#include <optional>

#include "base/alignment.h"
#include "base/onednn.h"
#include "base/prepared.h"
#include "network/layers/accumulate.h"
#include "network/layers/folding.h"

namespace insightface {
namespace {

using dnnl::memory;

int64_t Size(const memory::desc& description) { return static_cast<int64_t>(description.get_size()); }

struct DenseDescriptors {
  memory::desc input, weight, weight_gradient, plain_weight, bias, output, output_gradient;
};

DenseDescriptors Describe(const Value& in, int64_t units, int64_t batch) {
  const auto type = OneDnnType(in.type), f32 = memory::data_type::f32;
  const auto any = memory::format_tag::any;
  const memory::dims weight{units, in.shape.channels, in.shape.height, in.shape.width};
  return {{{batch, in.shape.channels, in.shape.height, in.shape.width}, type, memory::format_tag::nhwc},
          {weight, type, any},
          {weight, f32, any},
          {weight, f32, memory::format_tag::oihw},
          {{units}, f32, memory::format_tag::x},
          {{batch, units}, f32, memory::format_tag::nc},
          {{batch, units}, type, memory::format_tag::nc}};
}

struct DenseGradients {
  DenseGradients(const DenseDescriptors& d, const dnnl::inner_product_forward::primitive_desc& forward)
      : input(OneDnnEngine(), d.input, d.weight, d.output_gradient, forward, CallersScratchpad()),
        weight(OneDnnEngine(), d.input, d.weight_gradient, d.bias, d.output_gradient, forward, CallersScratchpad()),
        to_input(d.plain_weight, input.weights_desc()),
        from_weight(weight.diff_weights_desc(), d.plain_weight),
        input_primitive(input),
        weight_primitive(weight) {}

  dnnl::inner_product_backward_data::primitive_desc input;
  dnnl::inner_product_backward_weights::primitive_desc weight;
  Reorder to_input, from_weight;
  dnnl::inner_product_backward_data input_primitive;
  dnnl::inner_product_backward_weights weight_primitive;
};

class DenseLayer final : public Layer {
 public:
  DenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch, const ConvArrays& arrays,
             bool training)
      : Layer({input}, output),
        arrays_(arrays),
        type_(in.type),
        input_count_(batch * in.shape.Count()),
        output_count_(batch * units),
        d_(Describe(in, units, batch)),
        forward_(OneDnnEngine(), training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference,
                 d_.input, d_.weight, d_.bias, d_.output, CallersScratchpad()),
        weights_(arrays, ConvEpilogue(), units, in.shape.Count(), Reorder(d_.plain_weight, forward_.weights_desc())),
        forward_primitive_(forward_) {
    if (training) { gradients_.emplace(d_, forward_); }
  }

  void Forward(const ExecutionContext& context) override {
    weights_.Prepare(context);
    forward_primitive_.execute(OneDnnStream(),
                               {{DNNL_ARG_SRC, AsMemory(d_.input, context.ValueAt<void>(inputs[0]))},
                                {DNNL_ARG_WEIGHTS, AsMemory(forward_.weights_desc(), weights_.weight())},
                                {DNNL_ARG_BIAS, AsMemory(d_.bias, weights_.bias())},
                                {DNNL_ARG_DST, AsMemory(d_.output, context.ValueAt<void>(output))},
                                {DNNL_ARG_SCRATCHPAD, AsMemory(forward_.scratchpad_desc(), context.scratch)}});
  }

  void Backward(const ExecutionContext& context) override {
    char* scratch = context.scratch;
    const void* dy = context.GradientAt<void>(output);
    if (type_ == NumberType::kBFloat16) {
      Convert(context.GradientAt<const float>(output), reinterpret_cast<BFloat16*>(scratch), output_count_);
      dy = scratch;
      scratch += AlignedSize(Size(d_.output_gradient));
    }
    WeightGradient(context, dy, scratch);
    if (!uses[0].wanted) { return; }
    void* const target = context.GradientAt<void>(inputs[0]);
    if (!uses[0].adds) {
      InputGradient(context, dy, target, scratch);
      return;
    }
    InputGradient(context, dy, scratch, scratch + AlignedSize(input_count_ * BytesOf(type_)));
    if (type_ == NumberType::kFloat32) {
      AddInto(static_cast<float*>(target), reinterpret_cast<float*>(scratch), input_count_);
    } else {
      AddInto(static_cast<BFloat16*>(target), reinterpret_cast<BFloat16*>(scratch), input_count_);
    }
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

  int64_t ScratchBytes() override {
    int64_t bytes = Size(forward_.scratchpad_desc());
    if (gradients_) {
      const int64_t weight = AlignedSize(gradients_->from_weight.Bytes()) +
                             AlignedSize(Size(gradients_->weight.diff_weights_desc())) +
                             Size(gradients_->weight.scratchpad_desc());
      const int64_t input = AlignedSize(input_count_ * BytesOf(type_)) + AlignedSize(gradients_->to_input.Bytes()) +
                            Size(gradients_->input.scratchpad_desc());
      bytes = std::max(bytes, AlignedSize(Size(d_.output_gradient)) + std::max(weight, input));
    }
    return bytes;
  }

 private:
  void WeightGradient(const ExecutionContext& context, const void* dy, char* scratch) const {
    const DenseGradients& g = *gradients_;
    void* const target = context.parameter_gradients[arrays_.weight];
    const bool reordered = g.from_weight.Needed();
    void* const inner = reordered ? scratch : target;
    if (reordered) { scratch += AlignedSize(Size(g.weight.diff_weights_desc())); }
    g.weight_primitive.execute(OneDnnStream(),
                               {{DNNL_ARG_SRC, AsMemory(d_.input, context.ValueAt<void>(inputs[0]))},
                                {DNNL_ARG_DIFF_DST, AsMemory(d_.output_gradient, dy)},
                                {DNNL_ARG_DIFF_WEIGHTS, AsMemory(g.weight.diff_weights_desc(), inner)},
                                {DNNL_ARG_DIFF_BIAS, AsMemory(d_.bias, context.parameter_gradients[arrays_.bias])},
                                {DNNL_ARG_SCRATCHPAD, AsMemory(g.weight.scratchpad_desc(), scratch)}});
    if (reordered) { g.from_weight.Run(inner, target); }
  }

  void InputGradient(const ExecutionContext& context, const void* dy, void* target, char* scratch) const {
    const DenseGradients& g = *gradients_;
    const void* weight = context.parameters[arrays_.weight];
    if (g.to_input.Needed()) {
      g.to_input.Run(weight, scratch);
      weight = scratch;
      scratch += AlignedSize(g.to_input.Bytes());
    }
    g.input_primitive.execute(OneDnnStream(), {{DNNL_ARG_DIFF_SRC, AsMemory(d_.input, target)},
                                               {DNNL_ARG_WEIGHTS, AsMemory(g.input.weights_desc(), weight)},
                                               {DNNL_ARG_DIFF_DST, AsMemory(d_.output_gradient, dy)},
                                               {DNNL_ARG_SCRATCHPAD, AsMemory(g.input.scratchpad_desc(), scratch)}});
  }

  const ConvArrays arrays_;
  const NumberType type_;
  const int64_t input_count_, output_count_;
  const DenseDescriptors d_;
  const dnnl::inner_product_forward::primitive_desc forward_;
  FoldedWeights weights_;
  const dnnl::inner_product_forward forward_primitive_;
  std::optional<DenseGradients> gradients_;
};

}  // namespace

std::unique_ptr<Layer> MakeDenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch,
                                      const ConvArrays& arrays, bool training) {
  return std::make_unique<DenseLayer>(input, output, in, units, batch, arrays, training);
}

}  // namespace insightface
