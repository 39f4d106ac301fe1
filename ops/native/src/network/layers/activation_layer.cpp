// computes          y = relu(x), sigmoid(x) or tanh(x)
// reads in backward y, dy
// writes or adds    dx = dy * the derivative, computed from y
#include "network/layers/activation_layer.h"

#include <cmath>

#include "base/parallel.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

// A function of one number and its derivative, given by the function's result.
struct Activation {
  const char* name;
  float (*function)(float);
  float (*slope_at)(float result);
};

constexpr Activation kActivations[] = {
    {"relu", [](float x) { return x > 0 ? x : 0.0f; }, [](float y) { return y > 0 ? 1.0f : 0.0f; }},
    {"sigmoid", [](float x) { return 1 / (1 + std::exp(-x)); }, [](float y) { return y * (1 - y); }},
    {"tanh", [](float x) { return std::tanh(x); }, [](float y) { return 1 - y * y; }},
};

template<typename T>
class ActivationLayer final : public Layer {
 public:
  ActivationLayer(const Activation& activation, int input, int output, int64_t count)
      : Layer({input}, output), activation_(activation), count_(count) {}

  void Forward(const ExecutionContext& context) override {
    const T* const x = context.ValueAt<const T>(inputs[0]);
    T* const y = context.ValueAt<T>(output);
    ParallelRows(count_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) { Store(activation_.function(Load(x[i])), y + i); }
    });
  }
  void Backward(const ExecutionContext& context) override {
    if (!uses[0].wanted) { return; }
    const T* const y = context.ValueAt<const T>(output);
    const T* const dy = context.GradientAt<const T>(output);
    T* const dx = context.GradientAt<T>(inputs[0]);
    ParallelRows(count_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float gradient = Load(dy[i]) * activation_.slope_at(Load(y[i]));
        Store(uses[0].adds ? Load(dx[i]) + gradient : gradient, dx + i);
      }
    });
  }
  std::vector<int> ReadInBackward() const override { return {output}; }

 private:
  const Activation activation_;
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Layer> MakeActivationLayer(const std::string& name, int input, int output, const Value& value,
                                           int64_t batch) {
  for (const Activation& activation : kActivations) {
    if (name == activation.name) {
      return MakeOfType<ActivationLayer>(value.type, activation, input, output, batch * value.shape.Count());
    }
  }
  return nullptr;
}

}  // namespace insightface
