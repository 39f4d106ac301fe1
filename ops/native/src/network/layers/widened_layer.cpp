// computes          the inner layer on float32 copies of its bfloat16 inputs, y rounded to bfloat16
// reads in backward what the inner layer reads, and dy, as float32 copies
// writes            the parameter gradients of the inner layer
// writes or adds    dx rounded to bfloat16; the inner layer adds to a float32 copy of it
#include "network/layers/widened_layer.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "base/alignment.h"
#include "base/prepared.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

int64_t FloatBytes(int64_t count) { return AlignedSize(count * static_cast<int64_t>(sizeof(float))); }

class WidenedLayer final : public Layer {
 public:
  WidenedLayer(std::unique_ptr<Layer> inner, const std::vector<int>& layer_inputs, int layer_output,
               const std::vector<Value>& in, const Value& out, int64_t batch)
      : Layer(layer_inputs, layer_output),
        inner_(std::move(inner)),
        output_count_(batch * out.shape.Count()),
        rounds_output_(out.type == NumberType::kBFloat16) {
    for (const Value& value : in) { input_counts_.push_back(batch * value.shape.Count()); }
  }

  void Forward(const ExecutionContext& context) override {
    Frame frame(context, inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      frame.values[i] = Widen(&frame, ValueOf(context, i), input_counts_[i]);
    }
    frame.values.back() = rounds_output_ ? frame.Take(output_count_) : context.ValueAt<void>(output);
    inner_->Forward(frame.InnerContext());
    if (rounds_output_) {
      Convert(static_cast<float*>(frame.values.back()), context.ValueAt<BFloat16>(output), output_count_);
    }
  }

  void Backward(const ExecutionContext& context) override {
    CopyUses();
    Frame frame(context, inputs.size());
    for (const int i : inner_->ReadInBackward()) {
      frame.values[i] = Widen(&frame, ValueOf(context, i), input_counts_[i]);
    }
    frame.gradients.back() = rounds_output_ ? Widen(&frame, context.GradientAt<const BFloat16>(output), output_count_)
                                            : context.GradientAt<void>(output);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!uses[i].wanted) { continue; }
      frame.gradients[i] = uses[i].adds ? Widen(&frame, context.GradientAt<const BFloat16>(inputs[i]), input_counts_[i])
                                        : frame.Take(input_counts_[i]);
    }
    inner_->Backward(frame.InnerContext());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!uses[i].wanted) { continue; }
      Convert(static_cast<float*>(frame.gradients[i]), context.GradientAt<BFloat16>(inputs[i]), input_counts_[i]);
    }
  }

  std::vector<int> ReadInBackward() const override {
    std::vector<int> read;
    for (const int i : inner_->ReadInBackward()) { read.push_back(inputs[i]); }
    return read;
  }
  bool HasParameters() const override { return inner_->HasParameters(); }
  int64_t PieceOfGradient(int parameter) const override { return inner_->PieceOfGradient(parameter); }
  int64_t CopyBytes() const override { return inner_->CopyBytes(); }

  int64_t ScratchBytes() override {
    CopyUses();
    int64_t maps = rounds_output_ ? FloatBytes(output_count_) : 0;
    for (const int64_t count : input_counts_) { maps += FloatBytes(count); }
    int64_t gradients = 0;
    for (size_t i = 0; i < inputs.size(); ++i) { gradients += uses[i].wanted ? FloatBytes(input_counts_[i]) : 0; }
    return maps + gradients + inner_->ScratchBytes();
  }

 private:
  // The values and gradients of the inner layer while it runs.
  struct Frame {
    Frame(const ExecutionContext& context, size_t inputs)
        : values(inputs + 1, nullptr), gradients(inputs + 1, nullptr), outer(context), free(context.scratch) {}

    float* Take(int64_t count) {
      float* const taken = reinterpret_cast<float*>(free);
      free += FloatBytes(count);
      return taken;
    }

    ExecutionContext InnerContext() const {
      ExecutionContext context = outer;
      context.values = &values;
      context.gradients = &gradients;
      context.scratch = free;
      return context;
    }

    std::vector<void*> values, gradients;
    const ExecutionContext& outer;
    char* free;
  };

  static float* Widen(Frame* frame, const BFloat16* from, int64_t count) {
    float* const wide = frame->Take(count);
    Convert(from, wide, count);
    return wide;
  }

  const BFloat16* ValueOf(const ExecutionContext& context, size_t input) const {
    return context.ValueAt<const BFloat16>(inputs[input]);
  }

  void CopyUses() const {
    for (size_t i = 0; i < uses.size(); ++i) { inner_->uses[i] = {uses[i].wanted, uses[i].adds, false}; }
  }

  const std::unique_ptr<Layer> inner_;
  std::vector<int64_t> input_counts_;
  const int64_t output_count_;
  const bool rounds_output_;
};

}  // namespace

bool MultipliesBFloat16() {
  // The number of an instruction set includes the bits of those that it extends.
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch) {
  return std::make_unique<WidenedLayer>(std::move(inner), inputs, output, in, out, batch);
}

}  // namespace insightface
