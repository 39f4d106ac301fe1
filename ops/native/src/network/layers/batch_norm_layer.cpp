// computes          v = (x - mean) / sqrt(variance + epsilon) * gamma + beta, then y = PReLU(v) or v + addend
// writes            moving statistics (kBatch); in training mean and inverse standard deviation, saved for backward
// reads in backward x, dy, the saved statistics
// writes            dgamma, dbeta, dslope
// writes or adds    dx, unless the layer before computes it; d(addend) = dy, which may share the memory of dy instead
#include "network/layers/batch_norm_layer.h"

#include "network/arithmetic/channel_rows.h"
#include "network/layers/accumulate.h"
#include "network/layers/normalisation.h"

namespace insightface {
namespace {

template<typename T>
class BatchNormLayer final : public Layer {
 public:
  BatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                 const BatchNormArrays& arrays, float epsilon, float momentum, NormStatistics statistics)
      : Layer(inputs, output),
        channels_(value.shape.channels),
        rows_(batch * value.shape.Pixels()),
        norm_(arrays, channels_, rows_, epsilon, momentum, statistics) {}

  std::vector<RowStage> ForwardStages() override {
    if (!norm_.Measures()) { return {ApplyStage(true)}; }
    RowStage measure{rows_, channels_};
    measure.reduces = true;
    measure.begin = [this](const ExecutionContext&, char*) { norm_.ResetMoments(); };
    measure.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      norm_.moments().AddBlock(context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, part.number);
    };
    measure.end = [this](const ExecutionContext& context) { norm_.UpdateStatistics(context, Saved(context)); };
    return {measure, ApplyStage(false)};
  }

  std::vector<RowStage> RemakeStages() override { return {ApplyStage(false)}; }

  std::vector<RowStage> BackwardStages() override {
    RowStage sum{rows_, 2 * channels_};
    sum.reduces = norm_.Measures();  // with constant statistics dx needs no sums
    sum.begin = [this](const ExecutionContext& context, char*) {
      norm_.MakeAffine(context, Saved(context));
      norm_.ResetSums();
    };
    sum.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      const int64_t start = first * channels_;
      norm_.sums().AddBlock(part.number, [&](float* sums) {
        kChannelRows.Of<T>().AddGradientSums(context.ValueAt<const T>(inputs[0]) + start,
                                             context.GradientAt<const T>(output) + start, last - first, channels_,
                                             norm_.affine(), norm_.SumsIn(sums));
      });
    };
    sum.end = [this](const ExecutionContext& context) { norm_.UseSums(context, Saved(context)); };
    const auto reads = [this] {
      return std::vector<RowMap>{{inputs[0], false, RowBytes()}, {output, true, RowBytes()}};
    };
    sum.reads = reads;
    if (leaves_gradient_) { return {sum}; }
    RowStage apply{rows_, (2 + static_cast<int64_t>(inputs.size())) * channels_};
    apply.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part&) {
      const int64_t start = first * channels_;
      const T* const dy = context.GradientAt<const T>(output);
      if (uses[0].wanted) {
        kChannelRows.Of<T>().ApplyGradient(context.ValueAt<const T>(inputs[0]) + start, dy + start, last - first,
                                           channels_, norm_.gradient(), uses[0].adds,
                                           context.GradientAt<T>(inputs[0]) + start);
      }
      if (inputs.size() > 1) { PassGradientRange(context, *this, 1, start, last * channels_, dy); }
    };
    apply.reads = reads;
    return {sum, apply};
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool WritesGradientLast() const override { return true; }
  bool PassesGradient(size_t input) const override { return leaves_gradient_ || input == 1; }
  const Normalisation* LeaveInputGradient() override {
    leaves_gradient_ = inputs.size() == 1;
    return leaves_gradient_ ? &norm_ : nullptr;
  }
  bool MayOverwriteGradient() const override { return inputs.size() == 1; }
  bool MayOverwriteInput() const override { return true; }
  bool IsCheap() const override { return true; }
  bool HasParameters() const override { return true; }
  int64_t SavedBytes() const override { return norm_.SavedBytes(); }

 private:
  char* Saved(const ExecutionContext& context) const { return context.saved + saved_offset; }
  int64_t RowBytes() const { return channels_ * static_cast<int64_t>(sizeof(T)); }

  // Normalises by the saved statistics, or by the moving ones, which it then saves.
  RowStage ApplyStage(bool reads_moving) {
    RowStage apply{rows_, (1 + static_cast<int64_t>(inputs.size())) * channels_};
    apply.begin = [this, reads_moving](const ExecutionContext& context, char*) {
      if (reads_moving) { norm_.ReadStatistics(context, Saved(context)); }
      norm_.MakeAffine(context, Saved(context));
    };
    apply.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part&) {
      const int64_t start = first * channels_;
      const T* const addend = inputs.size() > 1 ? context.ValueAt<const T>(inputs[1]) + start : nullptr;
      kChannelRows.Of<T>().ApplyAffine(context.ValueAt<const T>(inputs[0]) + start, addend, last - first, channels_,
                                       norm_.affine(), context.ValueAt<T>(output) + start);
    };
    apply.reads = [this] {
      std::vector<RowMap> maps;
      for (const int input : inputs) { maps.push_back({input, false, RowBytes()}); }
      return maps;
    };
    return apply;
  }

  const int64_t channels_;
  const int64_t rows_;
  Normalisation norm_;
  bool leaves_gradient_ = false;
};

}  // namespace

std::unique_ptr<Layer> MakeBatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                                          const BatchNormArrays& arrays, float epsilon, float momentum,
                                          NormStatistics statistics) {
  if (value.type == NumberType::kFloat32) {
    return std::make_unique<BatchNormLayer<float>>(inputs, output, value, batch, arrays, epsilon, momentum, statistics);
  }
  return std::make_unique<BatchNormLayer<BFloat16>>(inputs, output, value, batch, arrays, epsilon, momentum,
                                                    statistics);
}

}  // namespace insightface
