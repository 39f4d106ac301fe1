// computes          y = convolution of x with 3x3 filters, stride 1, by F(4x4, 3x3); in inference + bias, PReLU, addend
// reads in backward x, dy
// writes            dweight by the transposed transforms (winograd_tiles.h)
// writes or adds    dx = the convolution of dy with the mirrored filters
#include "network/layers/winograd_layers.h"

#include <algorithm>

#include "base/prepared.h"
#include "network/layers/folding.h"

namespace insightface {
namespace {

std::optional<WinogradShape> FloatShapeOf(const Value& in, const Value& out, int64_t batch, const ConvGeometry& g) {
  if (in.type != NumberType::kFloat32) { return std::nullopt; }
  return WinogradShapeOf(in, out, batch, g);
}

// The weights change at every step, so each pass transforms them.
class WinogradTraining final : public SplitLayer {
 public:
  WinogradTraining(int input, int output, const WinogradShape& shape, int weight)
      : SplitLayer({input}, output),
        weight_(weight),
        filters_(shape.out.channels, shape.in.channels, false),
        reversed_filters_(shape.out.channels, shape.in.channels, true),
        forward_(shape),
        input_gradient_(shape.Reversed()),
        filter_gradient_(shape) {}

  void Forward(const ExecutionContext& context) override {
    Convolve(context, filters_, forward_, context.ValueAt<const float>(inputs[0]), false,
             context.ValueAt<float>(output));
  }

  void GradientsOfParameters(const ExecutionContext& context) override {
    filter_gradient_.Run(context.ValueAt<const float>(inputs[0]), context.GradientAt<const float>(output),
                         context.parameter_gradients[weight_], context.scratch);
  }

  void GradientOfInput(const ExecutionContext& context) override {
    Convolve(context, reversed_filters_, input_gradient_, context.GradientAt<const float>(output), uses[0].adds,
             context.GradientAt<float>(inputs[0]));
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

  int64_t ScratchBytes() override {
    const int64_t maps = std::max(forward_.ScratchBytes(), input_gradient_.ScratchBytes());
    return std::max(filters_.MatricesBytes() + maps, filter_gradient_.ScratchBytes());
  }

 private:
  void Convolve(const ExecutionContext& context, const WinogradFilters& filters, const WinogradConvolution& convolution,
                const float* x, bool adds, float* y) const {
    float* const matrices = reinterpret_cast<float*>(context.scratch);
    filters.Transform(context.parameters[weight_], matrices);
    convolution.Run(x, matrices, {nullptr, nullptr, adds ? y : nullptr}, y, context.scratch + filters.MatricesBytes());
  }

  const int weight_;
  const WinogradFilters filters_, reversed_filters_;
  const WinogradConvolution forward_, input_gradient_;
  const WinogradFilterGradient<float> filter_gradient_;
};

class WinogradInference final : public Layer {
 public:
  WinogradInference(const std::vector<int>& inputs, int output, const WinogradShape& shape, const ConvArrays& arrays,
                    const ConvEpilogue& epilogue)
      : Layer(inputs, output), slope_(epilogue.slope), weights_(Fold(shape, arrays, epilogue)), convolution_(shape) {}

  void Forward(const ExecutionContext& context) override {
    weights_.Prepare(context);
    const float* const slope = slope_ >= 0 ? context.parameters[slope_] : nullptr;
    const float* const addend = inputs.size() > 1 ? context.ValueAt<const float>(inputs[1]) : nullptr;
    convolution_.Run(context.ValueAt<const float>(inputs[0]), reinterpret_cast<const float*>(weights_.weight()),
                     {weights_.bias(), slope, addend}, context.ValueAt<float>(output), context.scratch);
  }

  void Backward(const ExecutionContext&) override {}
  int64_t CopyBytes() const override { return weights_.Bytes(); }
  int64_t ScratchBytes() override { return convolution_.ScratchBytes(); }

 private:
  static FoldedWeights Fold(const WinogradShape& shape, const ConvArrays& arrays, const ConvEpilogue& epilogue) {
    const int64_t in = shape.in.channels, out = shape.out.channels;
    const WinogradFilters filters(out, in, false);
    const auto transform = [filters](const float* plain, char* inner) {
      filters.Transform(plain, reinterpret_cast<float*>(inner));
    };
    return {arrays, epilogue, out, in * kWinogradTaps, filters.MatricesBytes(), transform};
  }

  const int slope_;
  FoldedWeights weights_;
  const WinogradConvolution convolution_;
};

}  // namespace

std::optional<WinogradShape> WinogradShapeOf(const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry) {
  const WinogradShape shape{batch, in.shape, out.shape, geometry.pad};
  const bool fits = geometry.kernel == 3 && geometry.stride == 1 && geometry.groups == 1;
  if (!fits || !SuitsWinograd(shape)) { return std::nullopt; }
  return shape;
}

std::unique_ptr<Layer> MakeWinogradTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                            const ConvGeometry& geometry, const ConvArrays& arrays) {
  const std::optional<WinogradShape> shape = FloatShapeOf(in, out, batch, geometry);
  if (!shape || arrays.bias >= 0) { return nullptr; }
  return std::make_unique<WinogradTraining>(input, output, *shape, arrays.weight);
}

std::unique_ptr<Layer> MakeWinogradInference(const std::vector<int>& inputs, int output, const Value& in,
                                             const Value& out, int64_t batch, const ConvGeometry& geometry,
                                             const ConvArrays& arrays, const ConvEpilogue& epilogue) {
  const std::optional<WinogradShape> shape = FloatShapeOf(in, out, batch, geometry);
  if (!shape) { return nullptr; }
  return std::make_unique<WinogradInference>(inputs, output, *shape, arrays, epilogue);
}

}  // namespace insightface
