// computes          v = BatchNorm(x), a = PReLU(v), y = depthwise 3x3 convolution of a, line by line: each thread holds
//                   the three lines of a that an output line reads
// writes            moving statistics (kBatch); mean and inverse standard deviation, saved for backward
// reads in backward x, dy, the saved statistics; each pixel of a is computed again. If the layer that reads y is a
//                   normalisation, dy is computed from y and the gradient of that layer's output, line by line
// writes            dgamma, dbeta, dslope, dweight
// writes            dx, which holds da until the sums over all rows are known; with stride 2, where da is four times as
//                   large as dy, da is computed again for dx instead
#include "network/layers/depthwise_unit.h"

#include "network/arithmetic/depthwise_lines.h"
#include "network/layers/held_lines.h"
#include "network/layers/normalisation.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class DepthwiseUnit final : public Layer {
 public:
  DepthwiseUnit(int input, int output, const Value& in, const Value& out, int64_t batch, int64_t stride, int weight,
                const BatchNormArrays& arrays, float epsilon, float momentum, NormStatistics statistics)
      : Layer({input}, output),
        batch_(batch),
        channels_(in.shape.channels),
        in_(in.shape),
        out_(out.shape),
        stride_(stride),
        weight_(weight),
        norm_(arrays, channels_, batch * in.shape.Pixels(), epsilon, momentum, statistics),
        by_tap_(kDepthwiseTaps * channels_) {}

  std::vector<RowStage> ForwardStages() override {
    if (!norm_.Measures()) { return {ConvolveStage(true)}; }
    RowStage measure{batch_ * in_.Pixels(), channels_};
    measure.reduces = true;
    measure.begin = [this](const ExecutionContext&, char*) { norm_.ResetMoments(); };
    measure.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      norm_.moments().AddBlock(context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, part.number);
    };
    measure.end = [this](const ExecutionContext& context) { norm_.UpdateStatistics(context, Saved(context)); };
    return {measure, ConvolveStage(false)};
  }

  std::vector<RowStage> RemakeStages() override { return {ConvolveStage(false)}; }

  std::vector<RowStage> BackwardStages() override {
    const int64_t lines = ChooseLines(batch_, in_.height, in_.width);
    RowStage differentiate{batch_ * in_.Pixels(), 3 * channels_, lines * in_.width};
    differentiate.gathers = true;
    differentiate.reduces = norm_.Measures();
    differentiate.scratch_bytes = HeldLines::Bytes(out_.width, channels_);
    differentiate.begin = [this](const ExecutionContext& context, char* scratch) {
      Begin(context, scratch);
      norm_.ResetSums();
      weight_sums_.Reset(kDepthwiseTaps * channels_);
    };
    differentiate.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      norm_.sums().AddBlock(part.number, [&](float* sums) {
        weight_sums_.AddBlock(part.number, [&](float* weight_sums) {
          for (int64_t line = first / in_.width; line < last / in_.width; ++line) {
            T* const da = uses[0].wanted && !computes_twice_ ? InputGradient(context, line) : nullptr;
            kDepthwiseLines.Of<T>().AddGradientSums(GradientLine(context, line, part.thread),
                                                    {weight_sums, norm_.SumsIn(sums), da});
          }
        });
      });
    };
    differentiate.end = [this](const ExecutionContext& context) {
      norm_.UseSums(context, Saved(context));
      const std::vector<double> sums = weight_sums_.Total();
      float* const gradient = context.parameter_gradients[weight_];
      for (int64_t c = 0; c < channels_; ++c) {
        for (int64_t t = 0; t < kDepthwiseTaps; ++t) {
          gradient[c * kDepthwiseTaps + t] = static_cast<float>(sums[t * channels_ + c]);
        }
      }
    };
    if (!uses[0].wanted) { return {differentiate}; }
    return {differentiate, computes_twice_ ? GradientStage(lines * in_.width) : ApplyStage()};
  }

  void TakeOver(Layer& next) override { next_ = next.LeaveInputGradient(); }
  std::vector<int> ReadInBackward() const override {
    return next_ != nullptr ? std::vector<int>{inputs[0], output} : std::vector<int>{inputs[0]};
  }
  bool IsDoneWithOutputFirst() const override { return !computes_twice_; }
  bool WritesGradientLast() const override { return computes_twice_; }
  bool HasParameters() const override { return true; }
  int64_t SavedBytes() const override { return norm_.SavedBytes(); }

 private:
  // Normalises by the saved statistics, or by the moving ones, which it then saves.
  RowStage ConvolveStage(bool reads_moving) {
    const int64_t lines = ChooseLines(batch_, out_.height, out_.width);
    RowStage convolve{batch_ * out_.Pixels(), (1 + stride_ * stride_) * channels_, lines * out_.width};
    convolve.gathers = true;
    convolve.scratch_bytes = HeldLines::Bytes(in_.width, channels_);
    convolve.begin = [this, reads_moving](const ExecutionContext& context, char* scratch) {
      if (reads_moving) { norm_.ReadStatistics(context, Saved(context)); }
      Begin(context, scratch);
    };
    convolve.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      for (int64_t line = first / out_.width; line < last / out_.width; ++line) {
        ConvolveLine(context, line, part.thread);
      }
    };
    return convolve;
  }

  // Computes dx from da, which it holds.
  RowStage ApplyStage() {
    RowStage apply{batch_ * in_.Pixels(), 3 * channels_};
    apply.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part&) {
      T* const dx = context.GradientAt<T>(inputs[0]) + first * channels_;
      kChannelRows.Of<T>().ApplyGradient(context.ValueAt<const T>(inputs[0]) + first * channels_, dx, last - first,
                                         channels_, norm_.gradient(), false, dx);
    };
    apply.reads = [this] { return std::vector<RowMap>{{inputs[0], false, RowBytes()}, {inputs[0], true, RowBytes()}}; };
    return apply;
  }

  // Computes dx from dy.
  RowStage GradientStage(int64_t block) {
    RowStage gradient{batch_ * in_.Pixels(), 3 * channels_, block};
    gradient.gathers = true;
    gradient.scratch_bytes = HeldLines::Bytes(out_.width, channels_);
    gradient.begin = [this](const ExecutionContext&, char* scratch) { held_.Reset(scratch); };
    gradient.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      for (int64_t line = first / in_.width; line < last / in_.width; ++line) {
        kDepthwiseLines.Of<T>().InputGradient(GradientLine(context, line, part.thread), norm_.gradient(),
                                              InputGradient(context, line));
      }
    };
    gradient.reads = [this] {
      // For each row of the input a quarter of one of the output.
      std::vector<RowMap> maps{{inputs[0], false, RowBytes()}, {output, true, RowBytes() / 4}};
      if (next_ != nullptr) { maps.push_back({output, false, RowBytes() / 4}); }
      return maps;
    };
    return gradient;
  }

  int64_t RowBytes() const { return channels_ * static_cast<int64_t>(sizeof(T)); }
  T* InputGradient(const ExecutionContext& context, int64_t line) const {
    return context.GradientAt<T>(inputs[0]) + line * in_.width * channels_;
  }
  char* Saved(const ExecutionContext& context) const { return context.saved + saved_offset; }
  void Begin(const ExecutionContext& context, char* scratch) {
    norm_.MakeAffine(context, Saved(context));
    held_.Reset(scratch);
    const float* const weight = context.parameters[weight_];
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t t = 0; t < kDepthwiseTaps; ++t) { by_tap_[t * channels_ + c] = weight[c * kDepthwiseTaps + t]; }
    }
  }

  void ConvolveLine(const ExecutionContext& context, int64_t number, int thread) {
    const DepthwiseLines<T>& loops = kDepthwiseLines.Of<T>();
    const int64_t image = number / out_.height, row = number % out_.height;
    const T* const x = context.ValueAt<const T>(inputs[0]);
    const float* lines[3];
    for (int64_t i = 0; i < 3; ++i) {
      lines[i] = held_.Get(in_, image, row * stride_ + i - 1, thread, [&](int64_t line, float* spread) {
        loops.SpreadNormalised(x + line * in_.width * channels_, in_.width, channels_, norm_.affine(), spread);
      });
    }
    loops.Convolve(lines, in_.width, stride_, by_tap_.data(), nullptr, nullptr, out_.width, channels_,
                   context.ValueAt<T>(output) + number * out_.width * channels_);
  }

  DepthwiseGradientLine<T> GradientLine(const ExecutionContext& context, int64_t number, int thread) {
    const DepthwiseLines<T>& loops = kDepthwiseLines.Of<T>();
    const int64_t image = number / in_.height, row = number % in_.height, first = number * in_.width * channels_;
    DepthwiseGradientLine<T> line{context.ValueAt<const T>(inputs[0]) + first, in_.width, channels_, stride_, {},
                                  by_tap_.data(), norm_.affine()};
    for (int64_t i = 0; i < 3; ++i) {
      // Filter row i of output row r reads input row r * stride + i - 1.
      const int64_t shifted = row + 1 - i;
      if (shifted % stride_ != 0) { continue; }
      line.dy[i] = held_.Get(out_, image, shifted / stride_, thread, [&](int64_t out_line, float* spread) {
        const int64_t start = out_line * out_.width * channels_;
        const T* const dy = context.GradientAt<const T>(output) + start;
        if (next_ == nullptr) {
          loops.Spread(dy, out_.width, channels_, spread);
        } else {
          const T* const y = context.ValueAt<const T>(output) + start;
          loops.SpreadGradient(y, dy, out_.width, channels_, next_->gradient(), spread);
        }
      });
    }
    return line;
  }

  const int64_t batch_, channels_;
  const ValueShape in_, out_;
  const int64_t stride_;
  const bool computes_twice_ = stride_ == 2;  // da: once for the sums and once for dx
  const int weight_;
  Normalisation norm_;
  const Normalisation* next_ = nullptr;  // whose input's gradient this layer computes
  // Of the current execution.
  std::vector<float> by_tap_;  // the weights, [taps, channels]
  BlockSums weight_sums_;      // [taps, channels]
  HeldLines held_;
};

}  // namespace

bool FitsDepthwiseUnit(const ConvGeometry& geometry, int64_t channels, int64_t filters, bool has_bias) {
  return geometry.groups > 1 && geometry.groups == channels && channels == filters && geometry.kernel == 3 &&
         geometry.pad == 1 && (geometry.stride == 1 || geometry.stride == 2) && !has_bias;
}

std::unique_ptr<Layer> MakeDepthwiseUnit(int input, int output, const Value& in, const Value& out, int64_t batch,
                                         int64_t stride, int weight, const BatchNormArrays& arrays, float epsilon,
                                         float momentum, NormStatistics statistics) {
  return MakeOfType<DepthwiseUnit>(in.type, input, output, in, out, batch, stride, weight, arrays, epsilon, momentum,
                                   statistics);
}

}  // namespace insightface
