// Weights with a batch normalisation folded into them, kept in oneDNN's layout until one of the arrays changes.
#pragma once

#include <vector>

#include "network/conv_layer.h"
#include "network/prepared.h"

namespace insightface {

class FoldedWeights {
 public:
  // `weight` has `filters` rows of `row` numbers; `to_inner` leads from there to oneDNN's layout.
  FoldedWeights(const ConvArrays& arrays, const ConvEpilogue& epilogue, int64_t filters, int64_t row,
                const Reorder& to_inner);

  // Brings weight() and bias() up to date.
  void Prepare(const Run& run);
  void* weight() const { return weight_.data(); }
  void* bias() const { return const_cast<float*>(bias_.data()); }

 private:
  uint64_t FingerprintArrays(const Run& run) const;

  const ConvArrays arrays_;
  const ConvEpilogue epilogue_;
  const int64_t filters_, row_;
  const Reorder to_inner_;
  AlignedBytes weight_;
  std::vector<float> bias_;
  uint64_t fingerprint_ = 0;
  bool prepared_ = false;
};

}  // namespace insightface
