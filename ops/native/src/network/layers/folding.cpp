#include "network/layers/folding.h"

#include <cmath>
#include <utility>

#include "base/parallel.h"

namespace insightface {

FoldedWeights::FoldedWeights(const ConvArrays& arrays, const ConvEpilogue& epilogue, int64_t filters, int64_t row,
                             int64_t inner_bytes, ToInner to_inner)
    : arrays_(arrays),
      epilogue_(epilogue),
      filters_(filters),
      row_(row),
      to_inner_(std::move(to_inner)),
      inner_bytes_(inner_bytes),
      bias_(filters, 0.0f) {}

FoldedWeights::FoldedWeights(const ConvArrays& arrays, const ConvEpilogue& epilogue, int64_t filters, int64_t row,
                             const Reorder& to_inner)
    : FoldedWeights(arrays, epilogue, filters, row, to_inner.Bytes(),
                    [to_inner](const float* plain, char* inner) { to_inner.Run(plain, inner); }) {}

void FoldedWeights::Prepare(const ExecutionContext& context) {
  if (prepared_ && context.arrays_version != 0 && context.arrays_version == version_) { return; }
  version_ = context.arrays_version;
  // Reading the arrays is many times cheaper than converting them to another layout for every batch.
  const uint64_t fingerprint = FingerprintArrays(context);
  if (prepared_ && fingerprint == fingerprint_) { return; }
  std::vector<float> scale(filters_, 1.0f);
  for (int64_t f = 0; f < filters_; ++f) { bias_[f] = arrays_.bias >= 0 ? context.parameters[arrays_.bias][f] : 0.0f; }
  if (epilogue_.has_batch_norm) {
    const BatchNormArrays& norm = epilogue_.batch_norm;
    for (int64_t f = 0; f < filters_; ++f) {
      const double gamma = norm.gamma >= 0 ? context.parameters[norm.gamma][f] : 1.0;
      const double factor =
          gamma / std::sqrt(static_cast<double>(context.moving[norm.moving_variance][f]) + epilogue_.epsilon);
      scale[f] = static_cast<float>(factor);
      bias_[f] = static_cast<float>(context.parameters[norm.beta][f] +
                                    (bias_[f] - context.moving[norm.moving_mean][f]) * factor);
    }
  }
  Convert(context, scale);
  fingerprint_ = fingerprint;
  prepared_ = true;
}

void FoldedWeights::Convert(const ExecutionContext& context, const std::vector<float>& scale) {
  if (weight_ == nullptr) { weight_ = std::make_unique<AlignedBytes>(inner_bytes_); }
  const float* const plain = context.parameters[arrays_.weight];
  if (!epilogue_.has_batch_norm) { return to_inner_(plain, weight_->data()); }
  const AlignedBytes scaled(filters_ * row_ * static_cast<int64_t>(sizeof(float)));
  float* const target = reinterpret_cast<float*>(scaled.data());
  ParallelRows(filters_, [&](int64_t begin, int64_t end, int) {
    for (int64_t f = begin; f < end; ++f) {
      for (int64_t i = 0; i < row_; ++i) { target[f * row_ + i] = plain[f * row_ + i] * scale[f]; }
    }
  });
  to_inner_(target, weight_->data());
}

uint64_t FoldedWeights::FingerprintArrays(const ExecutionContext& context) const {
  const auto add = [](uint64_t hash, const float* array, int64_t count) {
    return Fingerprint(array, count * static_cast<int64_t>(sizeof(float)), hash);
  };
  uint64_t hash = add(1, context.parameters[arrays_.weight], filters_ * row_);
  if (arrays_.bias >= 0) { hash = add(hash, context.parameters[arrays_.bias], filters_); }
  if (epilogue_.has_batch_norm) {
    const BatchNormArrays& norm = epilogue_.batch_norm;
    if (norm.gamma >= 0) { hash = add(hash, context.parameters[norm.gamma], filters_); }
    hash = add(hash, context.parameters[norm.beta], filters_);
    hash = add(hash, context.moving[norm.moving_mean], filters_);
    hash = add(hash, context.moving[norm.moving_variance], filters_);
  }
  return hash;
}

}  // namespace insightface
