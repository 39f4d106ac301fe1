// computes          y = x where x > 0, else slope * x, with one slope per channel
// reads in backward x, dy
// writes            dslope = sum of dy * x where x <= 0
// writes or adds    dx = dy where x > 0, else slope * dy
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

  void Forward(const ExecutionContext& context) override {
    const ChannelAffine affine = Identity(context);
    const T* const x = context.ValueAt<const T>(inputs[0]);
    T* const y = context.ValueAt<T>(output);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      kChannelRows.Of<T>().ApplyAffine(x + begin * channels_, nullptr, end - begin, channels_, affine,
                                       y + begin * channels_);
    });
  }

  void Backward(const ExecutionContext& context) override {
    constexpr int64_t kRowsPerSum = 256;
    const ChannelAffine affine = Identity(context);
    const T* const x = context.ValueAt<const T>(inputs[0]);
    const T* const dy = context.GradientAt<const T>(output);
    const std::vector<double> sums =
        SumRows(rows_, 3 * channels_, kRowsPerSum, [&](int64_t begin, int64_t end, float* part) {
          kChannelRows.Of<T>().AddGradientSums(x + begin * channels_, dy + begin * channels_, end - begin, channels_,
                                               affine, {part, part + channels_, part + 2 * channels_});
        });
    for (int64_t c = 0; c < channels_; ++c) {
      context.parameter_gradients[slope_][c] = static_cast<float>(sums[2 * channels_ + c]);
    }
    if (!uses[0].wanted) { return; }
    T* const dx = context.GradientAt<T>(inputs[0]);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      kChannelRows.Of<T>().ApplyGradient(x + begin * channels_, dy + begin * channels_, end - begin, channels_,
                                         {affine, zeros_.data(), zeros_.data()}, uses[0].adds, dx + begin * channels_);
    });
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool IsCheap() const override { return true; }
  bool HasParameters() const override { return true; }

 private:
  ChannelAffine Identity(const ExecutionContext& context) const {
    return {zeros_.data(), ones_.data(), zeros_.data(), context.parameters[slope_]};
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
