// computes          y = convolution of x with 3x3 filters, stride 1, by F(4x4, 3x3) of float32 or F(2x2, 3x3) of bfloat16
//                   maps; in inference + bias, PReLU, addend; in training also of stride 2, float32 (strided_tiles.h)
// reads in backward x, dy
// writes            dweight by the transposed transforms of F(4x4, 3x3) (winograd_tiles.h, strided_tiles.h)
// writes or adds    dx = the convolution of dy with the mirrored filters
#include "network/layers/winograd_layers.h"

#include <algorithm>
#include <optional>
#include <type_traits>

#include "network/arithmetic/strided_winograd.h"
#include "network/arithmetic/winograd_filter_gradient.h"
#include "network/arithmetic/winograd_fused.h"
#include "network/layers/folding.h"

namespace insightface {
namespace {

// The weights change at every step, so each pass transforms them.
template<typename T>
class WinogradTraining final : public SplitLayer {
 public:
  WinogradTraining(int input, int output, const WinogradShape& shape, int weight)
      : SplitLayer({input}, output),
        weight_(weight),
        forward_(shape),
        input_gradient_(shape.Reversed()),
        filter_gradient_(shape) {}

  void Forward(const ExecutionContext& context) override {
    Convolve(context, forward_, false, context.ValueAt<const T>(inputs[0]), false, context.ValueAt<T>(output));
  }

  void GradientsOfParameters(const ExecutionContext& context) override {
    filter_gradient_.Run(context.ValueAt<const T>(inputs[0]), context.GradientAt<const T>(output),
                         context.parameter_gradients[weight_], context.scratch);
  }

  void GradientOfInput(const ExecutionContext& context) override {
    Convolve(context, input_gradient_, true, context.GradientAt<const T>(output), uses[0].adds,
             context.GradientAt<T>(inputs[0]));
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

  int64_t ScratchBytes() override {
    return std::max({forward_.ScratchBytesOnWeights(), input_gradient_.ScratchBytesOnWeights(),
                     filter_gradient_.ScratchBytes()});
  }

 private:
  void Convolve(const ExecutionContext& context, const FusedWinograd<T>& convolution, bool reversed, const T* x,
                bool adds, T* y) const {
    convolution.RunOnWeights(context.parameters[weight_], reversed, x, {nullptr, nullptr, adds ? y : nullptr}, y,
                             context.scratch);
  }

  const int weight_;
  const FusedWinograd<T> forward_, input_gradient_;
  const std::conditional_t<kTypeOf<T> == NumberType::kFloat32, FusedFilterGradient, WinogradFilterGradient>
      filter_gradient_;
};

// Stride 2.
class StridedWinogradTraining final : public SplitLayer {
 public:
  StridedWinogradTraining(int input, int output, const WinogradShape& shape, int weight)
      : SplitLayer({input}, output),
        weight_(weight),
        forward_(shape, false),
        input_gradient_(shape, true),
        filter_gradient_(shape) {}

  void Forward(const ExecutionContext& context) override {
    forward_.Run(context.parameters[weight_], context.ValueAt<const float>(inputs[0]), false,
                 context.ValueAt<float>(output), context.scratch);
  }

  void GradientsOfParameters(const ExecutionContext& context) override {
    filter_gradient_.Run(context.ValueAt<const float>(inputs[0]), context.GradientAt<const float>(output),
                         context.parameter_gradients[weight_], context.scratch);
  }

  void GradientOfInput(const ExecutionContext& context) override {
    input_gradient_.Run(context.parameters[weight_], context.GradientAt<const float>(output), uses[0].adds,
                        context.GradientAt<float>(inputs[0]), context.scratch);
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

  int64_t ScratchBytes() override {
    return std::max({forward_.ScratchBytes(), input_gradient_.ScratchBytes(), filter_gradient_.ScratchBytes()});
  }

 private:
  const int weight_;
  const StridedConvolution forward_, input_gradient_;
  const StridedFilterGradient filter_gradient_;
};

template<typename T>
class WinogradInference final : public Layer {
 public:
  WinogradInference(const std::vector<int>& inputs, int output, const WinogradShape& shape, const ConvArrays& arrays,
                    const ConvEpilogue& epilogue)
      : Layer(inputs, output),
        slope_(epilogue.slope),
        convolution_(shape),
        weights_(arrays, epilogue, shape.out.channels, shape.in.channels * kWinogradTaps, convolution_.MatricesBytes(),
                 [this](const float* plain, char* inner) { convolution_.TransformFilters(plain, false, inner); }) {}

  void Forward(const ExecutionContext& context) override {
    weights_.Prepare(context);
    const float* const slope = slope_ >= 0 ? context.parameters[slope_] : nullptr;
    const T* const addend = inputs.size() > 1 ? context.ValueAt<const T>(inputs[1]) : nullptr;
    convolution_.Run(context.ValueAt<const T>(inputs[0]), weights_.weight(), {weights_.bias(), slope, addend},
                     context.ValueAt<T>(output), context.scratch);
  }

  void Backward(const ExecutionContext&) override {}
  int64_t CopyBytes() const override { return weights_.Bytes(); }
  int64_t ScratchBytes() override { return convolution_.ScratchBytes(); }

 private:
  const int slope_;
  const FusedWinograd<T> convolution_;
  FoldedWeights weights_;
};

template<typename T>
bool Suits(const WinogradShape& shape) {
  return FusedWinograd<T>::Suits(shape) && FusedWinograd<T>::Suits(shape.Reversed());
}

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
  if (arrays.bias >= 0) { return nullptr; }
  const WinogradShape strided{batch, in.shape, out.shape, geometry.pad};
  if (in.type == NumberType::kFloat32 && geometry.kernel == 3 && geometry.stride == 2 && geometry.groups == 1 &&
      SuitsStridedWinograd(strided)) {
    return std::make_unique<StridedWinogradTraining>(input, output, strided, arrays.weight);
  }
  const std::optional<WinogradShape> shape = WinogradShapeOf(in, out, batch, geometry);
  if (!shape) { return nullptr; }
  if (in.type == NumberType::kFloat32) {
    if (!Suits<float>(*shape)) { return nullptr; }
    return std::make_unique<WinogradTraining<float>>(input, output, *shape, arrays.weight);
  }
  if (!Suits<BFloat16>(*shape)) { return nullptr; }
  return std::make_unique<WinogradTraining<BFloat16>>(input, output, *shape, arrays.weight);
}

std::unique_ptr<Layer> MakeWinogradInference(const std::vector<int>& inputs, int output, const Value& in,
                                             const Value& out, int64_t batch, const ConvGeometry& geometry,
                                             const ConvArrays& arrays, const ConvEpilogue& epilogue) {
  const std::optional<WinogradShape> shape = WinogradShapeOf(in, out, batch, geometry);
  if (!shape) { return nullptr; }
  if (in.type == NumberType::kFloat32) {
    if (!FusedWinograd<float>::Suits(*shape)) { return nullptr; }
    return std::make_unique<WinogradInference<float>>(inputs, output, *shape, arrays, epilogue);
  }
  if (!FusedWinograd<BFloat16>::Suits(*shape)) { return nullptr; }
  return std::make_unique<WinogradInference<BFloat16>>(inputs, output, *shape, arrays, epilogue);
}

}  // namespace insightface
