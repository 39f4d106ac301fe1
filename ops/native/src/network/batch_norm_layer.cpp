#include "network/batch_norm_layer.h"

#include <cmath>

#include "network/accumulate.h"
#include "network/channel_rows.h"
#include "network/parallel.h"
#include "runtime.h"

namespace insightface {
namespace {

// Sums run in float32 over so many rows, then in double.
constexpr int64_t kRowsPerSum = 256;

template<typename T>
class BatchNormLayer final : public Layer {
 public:
  BatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                 const BatchNormArrays& arrays, float epsilon, float momentum, bool training)
      : Layer(inputs, output),
        arrays_(arrays),
        epsilon_(epsilon),
        momentum_(momentum),
        training_(training),
        channels_(value.shape.channels),
        rows_(batch * value.shape.Pixels()),
        ones_(channels_, 1.0f) {}

  void Forward(const Run& run) override {
    const T* x = run.ValueAt<const T>(inputs[0]);
    const T* addend = inputs.size() > 1 ? run.ValueAt<const T>(inputs[1]) : nullptr;
    std::vector<float> own(2 * channels_);
    float* mean = training_ ? SavedMean(run) : own.data();
    float* inverse_std = mean + channels_;
    if (training_) {
      TakeStatistics(run, x, mean, inverse_std);
    } else {
      ReadStatistics(run, mean, inverse_std);
    }
    std::vector<float> scale(channels_);
    const ChannelAffine affine = MakeAffine(run, mean, inverse_std, scale.data());
    T* y = run.ValueAt<T>(output);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      const int64_t start = begin * channels_;
      ApplyAffine(x + start, addend != nullptr ? addend + start : nullptr, end - begin, channels_, affine, y + start);
    });
  }

  void Backward(const Run& run) override {
    const T* x = run.ValueAt<const T>(inputs[0]);
    const T* dy = run.GradientAt<const T>(output);
    const float* mean = SavedMean(run);
    const float* inverse_std = mean + channels_;
    std::vector<float> scale(channels_), tilt(channels_), level(channels_);
    const ChannelAffine affine = MakeAffine(run, mean, inverse_std, scale.data());
    const std::vector<double> sums = SumGradients(x, dy, affine);
    for (int64_t c = 0; c < channels_; ++c) {
      const double beta_gradient = sums[c];
      const double gamma_gradient = sums[channels_ + c] * inverse_std[c];
      tilt[c] = static_cast<float>(-gamma_gradient / static_cast<double>(rows_) * inverse_std[c] * scale[c]);
      level[c] = static_cast<float>(-beta_gradient / static_cast<double>(rows_) * scale[c]);
      run.parameter_gradients[arrays_.beta][c] = static_cast<float>(beta_gradient);
      if (arrays_.gamma >= 0) { run.parameter_gradients[arrays_.gamma][c] = static_cast<float>(gamma_gradient); }
      if (arrays_.slope >= 0) {
        run.parameter_gradients[arrays_.slope][c] = static_cast<float>(sums[2 * channels_ + c]);
      }
    }
    if (uses[0].wanted) {
      T* dx = run.GradientAt<T>(inputs[0]);
      ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
        const int64_t start = begin * channels_;
        ApplyGradient(x + start, dy + start, end - begin, channels_, affine, tilt.data(), level.data(), uses[0].adds,
                      dx + start);
      });
    }
    if (inputs.size() > 1) { PassGradient(run, *this, 1, rows_ * channels_, dy); }
  }

  std::vector<int> ReadBackward() const override { return {inputs[0]}; }
  bool PassesGradient(size_t input) const override { return input == 1; }
  bool HasParameters() const override { return true; }
  int64_t SavedBytes() const override { return training_ ? 2 * channels_ * static_cast<int64_t>(sizeof(float)) : 0; }

 private:
  float* SavedMean(const Run& run) const { return reinterpret_cast<float*>(run.saved + saved_offset); }

  ChannelAffine MakeAffine(const Run& run, const float* mean, const float* inverse_std, float* scale) const {
    const float* gamma = arrays_.gamma >= 0 ? run.parameters[arrays_.gamma] : ones_.data();
    for (int64_t c = 0; c < channels_; ++c) { scale[c] = gamma[c] * inverse_std[c]; }
    const float* slope = arrays_.slope >= 0 ? run.parameters[arrays_.slope] : nullptr;
    return {mean, scale, run.parameters[arrays_.beta], slope};
  }

  void ReadStatistics(const Run& run, float* mean, float* inverse_std) const {
    for (int64_t c = 0; c < channels_; ++c) {
      mean[c] = run.moving[arrays_.moving_mean][c];
      inverse_std[c] = 1.0f / std::sqrt(run.moving[arrays_.moving_variance][c] + epsilon_);
    }
  }

  void TakeStatistics(const Run& run, const T* x, float* mean, float* inverse_std) const {
    // Distances from the first row keep the variance of channels whose mean is far from zero.
    std::vector<float> origin(channels_);
    for (int64_t c = 0; c < channels_; ++c) { origin[c] = Load(x[c]); }
    const std::vector<double> sums =
        SumRows(rows_, 2 * channels_, kRowsPerSum, [&](int64_t begin, int64_t end, float* part) {
          AddMoments(x + begin * channels_, end - begin, channels_, origin.data(), part, part + channels_);
        });
    const double count = static_cast<double>(rows_);
    for (int64_t c = 0; c < channels_; ++c) {
      const double offset = sums[c] / count;
      const double variance = std::max(0.0, sums[channels_ + c] / count - offset * offset);
      mean[c] = static_cast<float>(origin[c] + offset);
      inverse_std[c] = static_cast<float>(1.0 / std::sqrt(variance + epsilon_));
      float& moving_mean = run.moving[arrays_.moving_mean][c];
      float& moving_variance = run.moving[arrays_.moving_variance][c];
      const double unbiased = rows_ > 1 ? variance * count / (count - 1) : variance;
      moving_mean = momentum_ * moving_mean + (1 - momentum_) * mean[c];
      moving_variance = momentum_ * moving_variance + (1 - momentum_) * static_cast<float>(unbiased);
    }
  }

  std::vector<double> SumGradients(const T* x, const T* dy, const ChannelAffine& affine) const {
    const int64_t numbers = (affine.slope != nullptr ? 3 : 2) * channels_;
    return SumRows(rows_, numbers, kRowsPerSum, [&](int64_t begin, int64_t end, float* part) {
      const ChannelSums sums{part, part + channels_, affine.slope != nullptr ? part + 2 * channels_ : nullptr};
      AddGradientSums(x + begin * channels_, dy + begin * channels_, end - begin, channels_, affine, sums);
    });
  }

  const BatchNormArrays arrays_;
  const float epsilon_;
  const float momentum_;
  const bool training_;
  const int64_t channels_;
  const int64_t rows_;
  const std::vector<float> ones_;
};

}  // namespace

std::unique_ptr<Layer> MakeBatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                                          const BatchNormArrays& arrays, float epsilon, float momentum, bool training) {
  if (value.type == NumberType::kFloat32) {
    return std::make_unique<BatchNormLayer<float>>(inputs, output, value, batch, arrays, epsilon, momentum, training);
  }
  return std::make_unique<BatchNormLayer<BFloat16>>(inputs, output, value, batch, arrays, epsilon, momentum, training);
}

}  // namespace insightface
