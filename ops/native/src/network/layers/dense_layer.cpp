#include "network/layers/dense_layer.h"

#include <algorithm>
#include <optional>

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

  void Forward(const Run& run) override {
    weights_.Prepare(run);
    forward_primitive_.execute(OneDnnStream(), {{DNNL_ARG_SRC, At(d_.input, run.ValueAt<void>(inputs[0]))},
                                                {DNNL_ARG_WEIGHTS, At(forward_.weights_desc(), weights_.weight())},
                                                {DNNL_ARG_BIAS, At(d_.bias, weights_.bias())},
                                                {DNNL_ARG_DST, At(d_.output, run.ValueAt<void>(output))},
                                                {DNNL_ARG_SCRATCHPAD, At(forward_.scratchpad_desc(), run.scratch)}});
  }

  void Backward(const Run& run) override {
    char* scratch = run.scratch;
    const void* dy = run.GradientAt<void>(output);
    if (type_ == NumberType::kBFloat16) {
      Convert(run.GradientAt<const float>(output), reinterpret_cast<BFloat16*>(scratch), output_count_);
      dy = scratch;
      scratch += Room(Size(d_.output_gradient));
    }
    WeightGradient(run, dy, scratch);
    if (!uses[0].wanted) { return; }
    void* const target = run.GradientAt<void>(inputs[0]);
    if (!uses[0].adds) {
      InputGradient(run, dy, target, scratch);
      return;
    }
    InputGradient(run, dy, scratch, scratch + Room(input_count_ * BytesOf(type_)));
    if (type_ == NumberType::kFloat32) {
      AddInto(static_cast<float*>(target), reinterpret_cast<float*>(scratch), input_count_);
    } else {
      AddInto(static_cast<BFloat16*>(target), reinterpret_cast<BFloat16*>(scratch), input_count_);
    }
  }

  std::vector<int> ReadBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

  int64_t ScratchBytes() override {
    int64_t bytes = Size(forward_.scratchpad_desc());
    if (gradients_) {
      const int64_t weight = Room(gradients_->from_weight.Bytes()) +
                             Room(Size(gradients_->weight.diff_weights_desc())) +
                             Size(gradients_->weight.scratchpad_desc());
      const int64_t input = Room(input_count_ * BytesOf(type_)) + Room(gradients_->to_input.Bytes()) +
                            Size(gradients_->input.scratchpad_desc());
      bytes = std::max(bytes, Room(Size(d_.output_gradient)) + std::max(weight, input));
    }
    return bytes;
  }

 private:
  void WeightGradient(const Run& run, const void* dy, char* scratch) const {
    const DenseGradients& g = *gradients_;
    void* const target = run.parameter_gradients[arrays_.weight];
    const bool reordered = g.from_weight.Needed();
    void* const inner = reordered ? scratch : target;
    if (reordered) { scratch += Room(Size(g.weight.diff_weights_desc())); }
    g.weight_primitive.execute(OneDnnStream(),
                               {{DNNL_ARG_SRC, At(d_.input, run.ValueAt<void>(inputs[0]))},
                                {DNNL_ARG_DIFF_DST, At(d_.output_gradient, dy)},
                                {DNNL_ARG_DIFF_WEIGHTS, At(g.weight.diff_weights_desc(), inner)},
                                {DNNL_ARG_DIFF_BIAS, At(d_.bias, run.parameter_gradients[arrays_.bias])},
                                {DNNL_ARG_SCRATCHPAD, At(g.weight.scratchpad_desc(), scratch)}});
    if (reordered) { g.from_weight.Run(inner, target); }
  }

  void InputGradient(const Run& run, const void* dy, void* target, char* scratch) const {
    const DenseGradients& g = *gradients_;
    const void* weight = run.parameters[arrays_.weight];
    if (g.to_input.Needed()) {
      g.to_input.Run(weight, scratch);
      weight = scratch;
      scratch += Room(g.to_input.Bytes());
    }
    g.input_primitive.execute(OneDnnStream(), {{DNNL_ARG_DIFF_SRC, At(d_.input, target)},
                                               {DNNL_ARG_WEIGHTS, At(g.input.weights_desc(), weight)},
                                               {DNNL_ARG_DIFF_DST, At(d_.output_gradient, dy)},
                                               {DNNL_ARG_SCRATCHPAD, At(g.input.scratchpad_desc(), scratch)}});
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
