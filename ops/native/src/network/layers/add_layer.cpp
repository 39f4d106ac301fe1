// computes          y = a + b
// reads in backward dy
// writes or adds    da = dy, db = dy; one of them may share the memory of dy instead and needs no work
#include "network/layers/add_layer.h"

#include "network/layers/accumulate.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class AddLayer final : public Layer {
 public:
  AddLayer(const std::vector<int>& inputs, int output, int64_t count) : Layer(inputs, output), count_(count) {}
  void Forward(const ExecutionContext& context) override {
    T* const y = context.ValueAt<T>(output);
    Convert(context.ValueAt<const T>(inputs[0]), y, count_);
    AddInto(y, context.ValueAt<const T>(inputs[1]), count_);
  }
  void Backward(const ExecutionContext& context) override {
    for (size_t input = 0; input < inputs.size(); ++input) {
      PassGradient(context, *this, input, count_, context.GradientAt<const T>(output));
    }
  }
  bool IsCheap() const override { return true; }
  bool PassesGradient(size_t) const override { return true; }

 private:
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Layer> MakeAddLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch) {
  return MakeOfType<AddLayer>(value.type, inputs, output, batch * value.shape.Count());
}

}  // namespace insightface
