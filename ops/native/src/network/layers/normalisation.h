// The arithmetic of a batch normalisation apart from its loops: statistics, the affine map, and the gradients of its
// arrays. A layer that normalises owns one, gives it the sums, and reads what its loops need.
#pragma once

#include <cstdint>
#include <vector>

#include "network/arithmetic/block_sums.h"
#include "network/arithmetic/channel_rows.h"
#include "network/layers/batch_norm_layer.h"

namespace insightface {

class Normalisation {
 public:
  // `rows` is the number of values per channel.
  Normalisation(const BatchNormArrays& arrays, int64_t channels, int64_t rows, float epsilon, float momentum,
                NormStatistics statistics);

  // Whether the statistics are those of the batch: then they are known only after the last row, forward and backward.
  bool Measures() const { return measures_; }
  int64_t Channels() const { return channels_; }

  // In the functions below `saved` is the layer's memory, SavedBytes() bytes, from the forward pass to the backward.
  int64_t SavedBytes() const { return training_ ? 2 * channels_ * static_cast<int64_t>(sizeof(float)) : 0; }

  // Forward: Reset, AddBlock for all rows and UpdateStatistics if it measures, else ReadStatistics; then MakeAffine.
  void ResetMoments() { moments_.Reset(channels_); }
  BlockMoments& moments() { return moments_; }
  void UpdateStatistics(const ExecutionContext& context, char* saved) const;
  void ReadStatistics(const ExecutionContext& context, char* saved);
  void MakeAffine(const ExecutionContext& context, char* saved);
  const ChannelAffine& affine() const { return affine_; }

  // Backward: MakeAffine, ResetSums, the sums of all rows, UseSums.
  void ResetSums() { sums_.Reset(SumCount() * channels_); }
  BlockSums& sums() { return sums_; }
  // The parts of an array of sums for all channels.
  ChannelSums SumsIn(float* part) const {
    return {part, part + channels_, affine_.slope != nullptr ? part + 2 * channels_ : nullptr};
  }
  // Writes the gradients of the arrays, and what gradient() refers to.
  void UseSums(const ExecutionContext& context, char* saved);
  ChannelGradient gradient() const { return {affine_, offset_factor_.data(), constant_.data()}; }

 private:
  int64_t SumCount() const { return affine_.slope != nullptr ? 3 : 2; }
  // Mean, then inverse standard deviation.
  float* Mean(char* saved) { return training_ ? reinterpret_cast<float*>(saved) : statistics_.data(); }

  const BatchNormArrays arrays_;
  const float epsilon_, momentum_;
  const bool training_, measures_;
  const int64_t channels_, rows_;
  const std::vector<float> ones_;
  // Of the current execution.
  std::vector<float> statistics_;  // moving mean and inverse standard deviation, outside training
  std::vector<float> scale_, shift_, slope_, offset_factor_, constant_;
  ChannelAffine affine_{};
  BlockMoments moments_;
  BlockSums sums_;
};

}  // namespace insightface
