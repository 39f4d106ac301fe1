// computes          y = keep * x / (1 - drop); outside training y = x
// reads in backward dy and the keep mask
// writes or adds    dx = keep * dy / (1 - drop)
#include "network/layers/dropout_layer.h"

#include "base/parallel.h"
#include "network/layers/accumulate.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class DropoutLayer final : public Layer {
 public:
  DropoutLayer(int input, int output, const ValueShape& shape, int64_t batch, int64_t first, float drop,
               bool of_images, bool training)
      : Layer({input}, output),
        shape_(shape),
        rows_(batch * shape.Pixels()),
        first_(first),
        scale_(1 / (1 - drop)),
        of_images_(of_images),
        training_(training) {}

  void Forward(const ExecutionContext& context) override {
    const T* const x = context.ValueAt<const T>(inputs[0]);
    if (training_) {
      Mask(context, x, false, context.ValueAt<T>(output));
    } else {
      Convert(x, context.ValueAt<T>(output), rows_ * shape_.channels);
    }
  }
  void Backward(const ExecutionContext& context) override {
    if (!uses[0].wanted) { return; }
    Mask(context, context.GradientAt<const T>(output), uses[0].adds, context.GradientAt<T>(inputs[0]));
  }

  bool IsCheap() const override { return true; }

 private:
  void Mask(const ExecutionContext& context, const T* from, bool adds, T* to) const {
    const int64_t channels = shape_.channels, pixels = shape_.Pixels();
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t pixel = of_images_ ? 0 : row % pixels, step = of_images_ ? 0 : pixels;
        const uint8_t* const keep = context.keep + row / pixels * context.keep_width + first_ + pixel;
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t at = row * channels + c;
          const float value = keep[c * step] != 0 ? Load(from[at]) * scale_ : 0.0f;
          Store(adds ? Load(to[at]) + value : value, to + at);
        }
      }
    });
  }

  const ValueShape shape_;
  const int64_t rows_, first_;
  const float scale_;
  const bool of_images_, training_;
};

}  // namespace

std::unique_ptr<Layer> MakeDropoutLayer(int input, int output, const Value& value, int64_t batch, int64_t first,
                                        float drop, bool of_images, bool training) {
  return MakeOfType<DropoutLayer>(value.type, input, output, value.shape, batch, first, drop, of_images, training);
}

}  // namespace insightface
