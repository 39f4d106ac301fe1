// computes          y [batch, units] = x weight^T + bias in inference, float32 also for bfloat16 x
// reads in backward nothing: there is no backward pass; training is in training_dense.cpp
#include "network/layers/dense_layer.h"

#include "base/onednn.h"
#include "base/prepared.h"
#include "network/layers/folding.h"

namespace insightface {
namespace {

using dnnl::memory;

struct DenseDescriptors {
  memory::desc input, weight, plain_weight, bias, output;
};

DenseDescriptors Describe(const Value& in, int64_t units, int64_t batch) {
  const auto type = OneDnnType(in.type), f32 = memory::data_type::f32;
  const memory::dims weight{units, in.shape.channels, in.shape.height, in.shape.width};
  return {{{batch, in.shape.channels, in.shape.height, in.shape.width}, type, memory::format_tag::nhwc},
          {weight, type, memory::format_tag::any},
          {weight, f32, memory::format_tag::oihw},
          {{units}, f32, memory::format_tag::x},
          {{batch, units}, f32, memory::format_tag::nc}};
}

class DenseLayer final : public Layer {
 public:
  DenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch, const ConvArrays& arrays)
      : Layer({input}, output),
        d_(Describe(in, units, batch)),
        forward_(OneDnnEngine(), dnnl::prop_kind::forward_inference, d_.input, d_.weight, d_.bias, d_.output,
                 CallersScratchpad()),
        weights_(arrays, ConvEpilogue(), units, in.shape.Count(), Reorder(d_.plain_weight, forward_.weights_desc())),
        primitive_(forward_) {}

  void Forward(const ExecutionContext& context) override {
    weights_.Prepare(context);
    primitive_.execute(OneDnnStream(), {{DNNL_ARG_SRC, AsMemory(d_.input, context.ValueAt<void>(inputs[0]))},
                                        {DNNL_ARG_WEIGHTS, AsMemory(forward_.weights_desc(), weights_.weight())},
                                        {DNNL_ARG_BIAS, AsMemory(d_.bias, weights_.bias())},
                                        {DNNL_ARG_DST, AsMemory(d_.output, context.ValueAt<void>(output))},
                                        {DNNL_ARG_SCRATCHPAD, AsMemory(forward_.scratchpad_desc(), context.scratch)}});
  }
  void Backward(const ExecutionContext&) override {}

  int64_t CopyBytes() const override { return weights_.Bytes(); }
  int64_t ScratchBytes() override { return static_cast<int64_t>(forward_.scratchpad_desc().get_size()); }

 private:
  const DenseDescriptors d_;
  const dnnl::inner_product_forward::primitive_desc forward_;
  FoldedWeights weights_;
  const dnnl::inner_product_forward primitive_;
};

}  // namespace

std::unique_ptr<Layer> MakeDenseLayer(int input, int output, const Value& in, int64_t units, int64_t batch,
                                      const ConvArrays& arrays, bool training) {
  if (training) { return MakeTrainingDense(input, output, in, units, batch, arrays); }
  return std::make_unique<DenseLayer>(input, output, in, units, batch, arrays);
}

}  // namespace insightface
