#include "network/plan/steps.h"

#include <algorithm>
#include <tuple>

namespace insightface {
namespace {

constexpr size_t kNoLayer = static_cast<size_t>(-1);

// Chooses the values that are kept for the backward pass. A value that is not kept is computed again from its layer's
// inputs, which for that purpose are kept or made again themselves.
class Keeping {
 public:
  Keeping(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose)
      : layers_(layers),
        values_(values),
        recomputes_(purpose == Purpose::kRecomputing),
        cost_(values.size(), 0),
        is_kept_(values.size(), false) {
    for (size_t i = 0; i < layers.size(); ++i) { Decide(*layers[i]); }
  }

  // Only values that the backward pass reads, or needs to make others again, take memory.
  std::vector<bool> Kept(const std::vector<size_t>& producers) {
    for (const auto& layer : layers_) {
      for (const int value : layer->ReadInBackward()) { Require(value, producers); }
    }
    for (size_t value = 0; value < is_kept_.size(); ++value) { is_kept_[value] = is_kept_[value] && cost_[value] == 0; }
    return is_kept_;
  }

 private:
  // cost_: layers that run to make a value again; 0: it is kept.
  void Decide(const Layer& layer) {
    if (layer.output < 0 || layer.inputs.empty()) { return; }
    int64_t cost = 1;
    for (const int input : layer.inputs) { cost += cost_[input]; }
    const bool is_sum = layer.inputs.size() > 1;
    cost_[layer.output] = MayRemake(layer, is_sum, cost) ? cost : 0;
  }

  bool MayRemake(const Layer& layer, bool is_sum, int64_t cost) const {
    // Of the sums of equal residual units every second one is kept: the one between costs one pass over memory.
    constexpr int64_t kMostCheap = 4, kMostLayers = 16;
    if (recomputes_) { return !is_sum && values_[layer.output].shape.Pixels() > 1 && cost <= kMostLayers; }
    return layer.IsCheap() && cost <= (is_sum ? 1 : kMostCheap);
  }

  void Require(int value, const std::vector<size_t>& producers) {
    if (is_kept_[value]) { return; }
    is_kept_[value] = true;
    if (cost_[value] == 0) { return; }
    for (const int input : layers_[producers[value]]->inputs) { Require(input, producers); }
  }

  const std::vector<std::unique_ptr<Layer>>& layers_;
  const std::vector<Value>& values_;
  const bool recomputes_;
  std::vector<int64_t> cost_;
  std::vector<bool> is_kept_;
};

class Planner {
 public:
  Planner(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose)
      : layers_(layers), producers_(values.size(), kNoLayer), is_there_(values.size(), true) {
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i]->output >= 0) { producers_[layers[i]->output] = i; }
    }
    for (const auto& layer : layers) {
      for (const RowStage& stage : Open(&plan_.steps, layer.get(), Pass::kForward, layer->ForwardStages())) {
        Add(&plan_.steps, layer.get(), Pass::kForward, stage);
      }
      plan_.forward.push_back(static_cast<int64_t>(plan_.steps.size()) - 1);
    }
    if (purpose == Purpose::kInference) { return; }
    plan_.is_kept = Keeping(layers, values, purpose).Kept(producers_);
    is_there_ = plan_.is_kept;
    PlanBackward();
  }

  StepPlan Take() { return std::move(plan_); }

 private:
  // The steps of the backward pass and their blocks of rows are the same whatever is made again, so that sums over blocks
  // are, too. What is made again comes before the step in which it is first read, or within it.
  void PlanBackward() {
    const size_t count = layers_.size();
    plan_.backward.resize(count);
    plan_.backward_first.resize(count);
    std::vector<Step> steps;
    std::vector<std::vector<Step>> before;
    for (size_t i = count; i-- > 0;) {
      Layer* const layer = layers_[i].get();
      const std::vector<RowStage> stages = Open(&steps, layer, Pass::kBackward, layer->BackwardStages());
      before.resize(steps.size());
      for (const int value : layer->ReadInBackward()) {
        if (!JoinRemake(value, stages, &steps)) { Require(value, &before.back()); }
      }
      plan_.backward_first[i] = static_cast<int64_t>(steps.size()) - 1;
      for (const RowStage& stage : stages) { Add(&steps, layer, Pass::kBackward, stage); }
      before.resize(steps.size());
      plan_.backward[i] = static_cast<int64_t>(steps.size()) - 1;
    }
    std::vector<int64_t> places;
    for (size_t step = 0; step < steps.size(); ++step) {
      for (Step& remake : before[step]) { plan_.steps.push_back(std::move(remake)); }
      places.push_back(static_cast<int64_t>(plan_.steps.size()));
      plan_.steps.push_back(std::move(steps[step]));
    }
    for (size_t i = 0; i < count; ++i) {
      plan_.backward_first[i] = places[plan_.backward_first[i]];
      plan_.backward[i] = places[plan_.backward[i]];
    }
  }

  // Makes a value again block by block within the last step, which a layer with these stages has just opened or joined.
  bool JoinRemake(int value, const std::vector<RowStage>& stages, std::vector<Step>* steps) {
    if (is_there_[value]) { return true; }
    Layer* const layer = layers_[producers_[value]].get();
    for (const int input : layer->inputs) {
      if (!is_there_[input]) { return false; }
    }
    std::vector<RowStage> remake = layer->RemakeStages();
    if (remake.size() != 1 || stages.empty() || stages.front().gathers) { return false; }
    RowStage& stage = remake.front();
    if (stage.gathers || stage.reduces || stage.block != 0 || stage.rows != stages.front().rows) { return false; }
    stage.width = 0;  // must not change the size of the blocks
    if (!Joins(*steps, stage)) { return false; }
    Add(steps, layer, Pass::kRemake, stage);
    is_there_[value] = true;
    return true;
  }

  void Require(int value, std::vector<Step>* steps) {
    if (is_there_[value]) { return; }
    is_there_[value] = true;
    Layer* const layer = layers_[producers_[value]].get();
    for (const int input : layer->inputs) { Require(input, steps); }
    for (const RowStage& stage : Open(steps, layer, Pass::kRemake, layer->RemakeStages())) {
      Add(steps, layer, Pass::kRemake, stage);
    }
  }

  // Makes the last step the one that the layer begins in; returns the stages.
  static std::vector<RowStage> Open(std::vector<Step>* steps, Layer* layer, Pass pass, std::vector<RowStage> stages) {
    if (stages.empty()) {
      steps->push_back({DirectionOf(pass), {{layer, pass}}});
    } else if (!Joins(*steps, stages.front())) {
      steps->push_back({DirectionOf(pass), {}, true});
    }
    return stages;
  }

  static void Add(std::vector<Step>* steps, Layer* layer, Pass pass, const RowStage& stage) {
    if (!Joins(*steps, stage)) { steps->push_back({DirectionOf(pass), {}, true}); }
    steps->back().group.Add(stage);
    steps->back().parts.emplace_back(layer, pass);
  }

  static bool Joins(const std::vector<Step>& steps, const RowStage& stage) {
    return !steps.empty() && steps.back().is_group && steps.back().group.Accepts(stage);
  }

  static Direction DirectionOf(Pass pass) { return pass == Pass::kForward ? Direction::kForward : Direction::kBackward; }

  const std::vector<std::unique_ptr<Layer>>& layers_;
  std::vector<size_t> producers_;
  std::vector<bool> is_there_;  // in the backward pass so far
  StepPlan plan_;
};

}  // namespace

void Step::Run(const ExecutionContext& context) const {
  if (is_group) { return group.Run(context); }
  Layer* const layer = parts.front().first;
  switch (parts.front().second) {
    case Pass::kForward: return layer->Forward(context);
    case Pass::kRemake: return layer->Remake(context);
    case Pass::kBackward: return layer->Backward(context);
  }
}

int64_t Step::ScratchBytes() const { return is_group ? group.ScratchBytes() : parts.front().first->ScratchBytes(); }

StepPlan PlanSteps(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose) {
  return Planner(layers, values, purpose).Take();
}

}  // namespace insightface
