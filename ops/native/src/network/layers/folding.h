// Weights with a batch normalisation folded into them, cached in the layout of the primitive until one of the arrays
// changes.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/prepared.h"
#include "network/layers/conv_layer.h"

namespace insightface {

class FoldedWeights {
 public:
  // Converts plain weights to the layout of the primitive.
  using ToInner = std::function<void(const float* plain, char* inner)>;

  // `weight` has `filters` rows of `row` numbers.
  FoldedWeights(const ConvArrays& arrays, const ConvEpilogue& epilogue, int64_t filters, int64_t row,
                int64_t inner_bytes, ToInner to_inner);
  FoldedWeights(const ConvArrays& arrays, const ConvEpilogue& epilogue, int64_t filters, int64_t row,
                const Reorder& to_inner);

  // Updates weight() and bias() if an array has changed.
  void Prepare(const ExecutionContext& context);
  char* weight() const { return weight_->data(); }
  float* bias() const { return const_cast<float*>(bias_.data()); }

  int64_t Bytes() const { return inner_bytes_; }

 private:
  void Convert(const ExecutionContext& context, const std::vector<float>& scale);
  uint64_t FingerprintArrays(const ExecutionContext& context) const;

  const ConvArrays arrays_;
  const ConvEpilogue epilogue_;
  const int64_t filters_, row_;
  const ToInner to_inner_;
  const int64_t inner_bytes_;
  std::unique_ptr<AlignedBytes> weight_;  // from the first use on
  std::vector<float> bias_;
  uint64_t fingerprint_ = 0;
  int64_t version_ = 0;  // of the arrays that were last seen
  bool prepared_ = false;
};

}  // namespace insightface
