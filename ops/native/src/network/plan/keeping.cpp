#include "network/plan/keeping.h"

#include <algorithm>

namespace insightface {

Keeping::Keeping(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values,
                 const std::vector<size_t>& producers, Purpose purpose)
    : layers_(layers),
      values_(values),
      producers_(producers),
      recomputes_(purpose == Purpose::kRecomputing),
      cost_(values.size(), 0),
      is_kept_(values.size(), false) {
  for (int value = 0; value < static_cast<int>(values.size()); ++value) { largest_ = std::max(largest_, Numbers(value)); }
  for (const auto& layer : layers) { Decide(*layer); }
  for (const auto& layer : layers) {
    for (const int value : layer->ReadInBackward()) { Require(value); }
  }
  for (size_t value = 0; value < is_kept_.size(); ++value) { is_kept_[value] = is_kept_[value] && cost_[value] == 0; }
}

bool Keeping::IsDropped(int value) const {
  return recomputes_ && !is_kept_[value] && layers_[producers_[value]]->IsCheap() && 2 * Numbers(value) >= largest_;
}

void Keeping::Decide(const Layer& layer) {
  if (layer.output < 0 || layer.inputs.empty()) { return; }
  int64_t cost = 1;
  for (const int input : layer.inputs) { cost += cost_[input]; }
  const bool is_sum = layer.inputs.size() > 1;
  cost_[layer.output] = MayRemake(layer, is_sum, cost) ? cost : 0;
}

bool Keeping::MayRemake(const Layer& layer, bool is_sum, int64_t cost) const {
  // Of the sums of equal residual units every second one is kept: the one between costs one pass over memory.
  constexpr int64_t kMostCheap = 4, kMostLayers = 16;
  if (recomputes_) { return !is_sum && values_[layer.output].shape.Pixels() > 1 && cost <= kMostLayers; }
  return layer.IsCheap() && cost <= (is_sum ? 1 : kMostCheap);
}

// What makes a value again is required too.
void Keeping::Require(int value) {
  if (is_kept_[value]) { return; }
  is_kept_[value] = true;
  if (cost_[value] == 0) { return; }
  for (const int input : layers_[producers_[value]]->inputs) { Require(input); }
}

}  // namespace insightface
