#include "network/layers/widened_layer.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "base/prepared.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

int64_t FloatRoom(int64_t count) { return Room(count * static_cast<int64_t>(sizeof(float))); }

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

  void Forward(const Run& run) override {
    Frame frame(run, inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) { frame.values[i] = Widen(&frame, ValueOf(run, i), input_counts_[i]); }
    frame.values.back() = rounds_output_ ? frame.Take(output_count_) : run.ValueAt<void>(output);
    inner_->Forward(frame.InnerRun());
    if (rounds_output_) {
      Convert(static_cast<float*>(frame.values.back()), run.ValueAt<BFloat16>(output), output_count_);
    }
  }

  void Backward(const Run& run) override {
    HandOverUses();
    Frame frame(run, inputs.size());
    for (const int i : inner_->ReadBackward()) { frame.values[i] = Widen(&frame, ValueOf(run, i), input_counts_[i]); }
    frame.gradients.back() = rounds_output_
                                 ? Widen(&frame, run.GradientAt<const BFloat16>(output), output_count_)
                                 : run.GradientAt<void>(output);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!uses[i].wanted) { continue; }
      frame.gradients[i] = uses[i].adds ? Widen(&frame, run.GradientAt<const BFloat16>(inputs[i]), input_counts_[i])
                                        : frame.Take(input_counts_[i]);
    }
    inner_->Backward(frame.InnerRun());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!uses[i].wanted) { continue; }
      Convert(static_cast<float*>(frame.gradients[i]), run.GradientAt<BFloat16>(inputs[i]), input_counts_[i]);
    }
  }

  std::vector<int> ReadBackward() const override {
    std::vector<int> read;
    for (const int i : inner_->ReadBackward()) { read.push_back(inputs[i]); }
    return read;
  }
  bool HasParameters() const override { return inner_->HasParameters(); }

  int64_t ScratchBytes() override {
    HandOverUses();
    int64_t maps = rounds_output_ ? FloatRoom(output_count_) : 0;
    for (const int64_t count : input_counts_) { maps += FloatRoom(count); }
    int64_t gradients = 0;
    for (size_t i = 0; i < inputs.size(); ++i) { gradients += uses[i].wanted ? FloatRoom(input_counts_[i]) : 0; }
    return maps + gradients + inner_->ScratchBytes();
  }

 private:
  // What the inner layer sees while it runs.
  struct Frame {
    Frame(const Run& run, size_t inputs)
        : values(inputs + 1, nullptr), gradients(inputs + 1, nullptr), outer(run), free(run.scratch) {}

    float* Take(int64_t count) {
      float* const taken = reinterpret_cast<float*>(free);
      free += FloatRoom(count);
      return taken;
    }

    Run InnerRun() const {
      Run run = outer;
      run.values = &values;
      run.gradients = &gradients;
      run.scratch = free;
      return run;
    }

    std::vector<void*> values, gradients;
    const Run& outer;
    char* free;
  };

  static float* Widen(Frame* frame, const BFloat16* from, int64_t count) {
    float* const wide = frame->Take(count);
    Convert(from, wide, count);
    return wide;
  }

  const BFloat16* ValueOf(const Run& run, size_t input) const { return run.ValueAt<const BFloat16>(inputs[input]); }

  void HandOverUses() const {
    for (size_t i = 0; i < uses.size(); ++i) { inner_->uses[i] = {uses[i].wanted, uses[i].adds, false}; }
  }

  const std::unique_ptr<Layer> inner_;
  std::vector<int64_t> input_counts_;
  const int64_t output_count_;
  const bool rounds_output_;
};

}  // namespace

bool MultipliesBFloat16() {
  // Each instruction set's number has the bits of those that it contains.
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch) {
  return std::make_unique<WidenedLayer>(std::move(inner), inputs, output, in, out, batch);
}

}  // namespace insightface
