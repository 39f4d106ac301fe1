// computes          y = PReLU(depthwise 3x3 convolution of x with weight + bias), batch normalisation folded into weight
//                   and bias, line by line
// reads in backward nothing: there is no backward pass
#include "network/layers/depthwise_inference.h"

#include "network/layers/depthwise_unit.h"
#include "network/layers/folding.h"
#include "network/layers/held_lines.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class DepthwiseInference final : public Layer {
 public:
  DepthwiseInference(int input, int output, const Value& in, const Value& out, int64_t batch, int64_t stride,
                     const ConvArrays& arrays, const ConvEpilogue& epilogue)
      : Layer({input}, output),
        batch_(batch),
        channels_(in.shape.channels),
        in_(in.shape),
        out_(out.shape),
        stride_(stride),
        slope_(epilogue.slope),
        weights_(arrays, epilogue, channels_, kDepthwiseTaps,
                 kDepthwiseTaps * channels_ * static_cast<int64_t>(sizeof(float)), FiltersByTap(channels_)) {}

  std::vector<RowStage> ForwardStages() override {
    const int64_t lines = ChooseLines(batch_, out_.height, out_.width);
    RowStage stage{batch_ * out_.Pixels(), (1 + stride_ * stride_) * channels_, lines * out_.width};
    stage.gathers = true;
    stage.scratch_bytes = HeldLines::Bytes(in_.width, channels_);
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      weights_.Prepare(context);
      held_.Reset(scratch);
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      for (int64_t line = first / out_.width; line < last / out_.width; ++line) {
        ConvolveLine(context, line, part.thread);
      }
    };
    return {stage};
  }

  int64_t CopyBytes() const override { return weights_.Bytes(); }

 private:
  void ConvolveLine(const ExecutionContext& context, int64_t number, int thread) {
    const DepthwiseLines<T>& loops = kDepthwiseLines.Of<T>();
    const int64_t image = number / out_.height, row = number % out_.height;
    const T* const x = context.ValueAt<const T>(inputs[0]);
    const float* lines[3];
    for (int64_t i = 0; i < 3; ++i) {
      lines[i] = held_.Get(in_, image, row * stride_ + i - 1, thread, [&](int64_t line, float* spread) {
        loops.Spread(x + line * in_.width * channels_, in_.width, channels_, spread);
      });
    }
    loops.Convolve(lines, in_.width, stride_, reinterpret_cast<const float*>(weights_.weight()), weights_.bias(),
                   slope_ >= 0 ? context.parameters[slope_] : nullptr, out_.width, channels_,
                   context.ValueAt<T>(output) + number * out_.width * channels_);
  }

  const int64_t batch_, channels_;
  const ValueShape in_, out_;
  const int64_t stride_;
  const int slope_;
  FoldedWeights weights_;
  HeldLines held_;  // of the current execution
};

}  // namespace

FoldedWeights::ToInner FiltersByTap(int64_t channels) {
  return [channels](const float* plain, char* by_tap) {
    float* const target = reinterpret_cast<float*>(by_tap);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < kDepthwiseTaps; ++t) { target[t * channels + c] = plain[c * kDepthwiseTaps + t]; }
    }
  };
}

std::unique_ptr<Layer> MakeDepthwiseInference(const std::vector<int>& inputs, int output, const Value& in,
                                              const Value& out, int64_t batch, const ConvGeometry& geometry,
                                              const ConvArrays& arrays, const ConvEpilogue& epilogue) {
  if (inputs.size() > 1 || !FitsDepthwiseUnit(geometry, in.shape.channels, out.shape.channels, false)) { return nullptr; }
  return MakeOfType<DepthwiseInference>(in.type, inputs[0], output, in, out, batch, geometry.stride, arrays, epilogue);
}

}  // namespace insightface
