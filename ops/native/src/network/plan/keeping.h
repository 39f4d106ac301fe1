// Chooses what the backward pass finds as the forward pass left it; the rest is computed again from that.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

enum class Purpose {
  kInference,
  kTraining,     // keeps what cannot be computed again cheaply
  kRecomputing,  // training that keeps little more than the sums of residual units
};

class Keeping {
 public:
  // `producers`: the number of the layer that computes each value.
  Keeping(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values,
          const std::vector<size_t>& producers, Purpose purpose);

  // Of each value, whether it is kept: the backward pass reads it, or needs it to make others again.
  const std::vector<bool>& Kept() const { return is_kept_; }
  // Whether a value that is not kept is dropped after each use, because it is so large and is made again so fast.
  bool IsDropped(int value) const;

 private:
  void Decide(const Layer& layer);
  bool MayRemake(const Layer& layer, bool is_sum, int64_t cost) const;
  void Require(int value);
  int64_t Numbers(int value) const { return values_[value].shape.Count(); }

  const std::vector<std::unique_ptr<Layer>>& layers_;
  const std::vector<Value>& values_;
  const std::vector<size_t>& producers_;
  const bool recomputes_;
  int64_t largest_ = 0;        // numbers of the largest value, for one image
  std::vector<int64_t> cost_;  // layers that run to make a value again; 0: it is kept
  std::vector<bool> is_kept_;
};

}  // namespace insightface
