#include "network/layers/prelu_layer.h"

#include "base/parallel.h"
#include "network/arithmetic/channel_rows.h"
#include "network/layers/accumulate.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class PreluLayer final : public Layer {
 public:
  PreluLayer(int input, int output, const ValueShape& shape, int64_t batch, int slope)
      : Layer({input}, output),
        slope_(slope),
        channels_(shape.channels),
        rows_(batch * shape.Pixels()),
        zeros_(channels_, 0.0f),
        ones_(channels_, 1.0f) {}

  void Forward(const Run& run) override {
    const ChannelAffine affine = Identity(run);
    const T* const x = run.ValueAt<const T>(inputs[0]);
    T* const y = run.ValueAt<T>(output);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      ApplyAffine(x + begin * channels_, static_cast<const T*>(nullptr), end - begin, channels_, affine,
                  y + begin * channels_);
    });
  }

  void Backward(const Run& run) override {
    constexpr int64_t kRowsPerSum = 256;
    const ChannelAffine affine = Identity(run);
    const T* const x = run.ValueAt<const T>(inputs[0]);
    const T* const dy = run.GradientAt<const T>(output);
    const std::vector<double> sums =
        SumRows(rows_, 3 * channels_, kRowsPerSum, [&](int64_t begin, int64_t end, float* part) {
          AddGradientSums(x + begin * channels_, dy + begin * channels_, end - begin, channels_, affine,
                          {part, part + channels_, part + 2 * channels_});
        });
    for (int64_t c = 0; c < channels_; ++c) {
      run.parameter_gradients[slope_][c] = static_cast<float>(sums[2 * channels_ + c]);
    }
    if (!uses[0].wanted) { return; }
    T* const dx = run.GradientAt<T>(inputs[0]);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      ApplyGradient(x + begin * channels_, dy + begin * channels_, end - begin, channels_, affine, zeros_.data(),
                    zeros_.data(), uses[0].adds, dx + begin * channels_);
    });
  }

  std::vector<int> ReadBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

 private:
  ChannelAffine Identity(const Run& run) const {
    return {zeros_.data(), ones_.data(), zeros_.data(), run.parameters[slope_]};
  }

  const int slope_;
  const int64_t channels_, rows_;
  const std::vector<float> zeros_, ones_;
};

}  // namespace

std::unique_ptr<Layer> MakePreluLayer(int input, int output, const Value& value, int64_t batch, int slope) {
  return MakeOfType<PreluLayer>(value.type, input, output, value.shape, batch, slope);
}

}  // namespace insightface
