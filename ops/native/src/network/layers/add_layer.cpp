#include "network/layers/add_layer.h"

#include "network/layers/accumulate.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class AddLayer final : public Layer {
 public:
  AddLayer(const std::vector<int>& inputs, int output, int64_t count) : Layer(inputs, output), count_(count) {}
  void Forward(const Run& run) override {
    T* const y = run.ValueAt<T>(output);
    Convert(run.ValueAt<const T>(inputs[0]), y, count_);
    AddInto(y, run.ValueAt<const T>(inputs[1]), count_);
  }
  void Backward(const Run& run) override {
    for (size_t input = 0; input < inputs.size(); ++input) {
      PassGradient(run, *this, input, count_, run.GradientAt<const T>(output));
    }
  }
  bool PassesGradient(size_t) const override { return true; }

 private:
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Layer> MakeAddLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch) {
  return MakeOfType<AddLayer>(value.type, inputs, output, batch * value.shape.Count());
}

}  // namespace insightface
