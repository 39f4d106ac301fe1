#include "network/plan/steps.h"

#include <algorithm>
#include <set>

namespace insightface {
namespace {

constexpr size_t kNoLayer = static_cast<size_t>(-1);

class Planner {
 public:
  Planner(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose)
      : layers_(layers),
        values_(values),
        producers_(Producers(layers, values.size())),
        keeping_(layers, values, producers_, purpose) {
    for (const auto& layer : layers) {
      for (const RowStage& stage : Open(&plan_.steps, layer.get(), Pass::kForward, layer->ForwardStages())) {
        Add(&plan_.steps, layer.get(), Pass::kForward, stage);
      }
      plan_.forward.push_back(static_cast<int64_t>(plan_.steps.size()) - 1);
    }
    if (purpose == Purpose::kInference) { return; }
    plan_.is_kept = is_there_ = keeping_.Kept();
    PlanBackward();
  }

  StepPlan Take() { return std::move(plan_); }

 private:
  static std::vector<size_t> Producers(const std::vector<std::unique_ptr<Layer>>& layers, size_t values) {
    std::vector<size_t> producers(values, kNoLayer);
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i]->output >= 0) { producers[layers[i]->output] = i; }
    }
    return producers;
  }

  // The steps of the backward pass and their blocks of rows are the same whatever is made again, so that sums over blocks
  // are, too. What is made again comes before the step in which it is first read, or within it.
  void PlanBackward() {
    const size_t count = layers_.size();
    plan_.backward.resize(count);
    plan_.backward_first.resize(count);
    for (size_t i = count; i-- > 0;) {
      RunWaiting(*layers_[i]);
      PlanLayer(i);
      if (i > 0) { Drop(*layers_[i - 1]); }
    }
    std::vector<int64_t> places;
    for (size_t step = 0; step < steps_.size(); ++step) {
      for (Step& remake : before_[step]) { plan_.steps.push_back(std::move(remake)); }
      places.push_back(static_cast<int64_t>(plan_.steps.size()));
      plan_.steps.push_back(std::move(steps_[step]));
    }
    for (size_t i = 0; i < count; ++i) {
      plan_.backward_first[i] = places[plan_.backward_first[i]];
      plan_.backward[i] = places[plan_.backward[i]];
    }
  }

  void PlanLayer(size_t i) {
    Layer* const layer = layers_[i].get();
    const std::vector<RowStage> stages =
        Open(&steps_, layer, layer->IsSplit() ? Pass::kParameters : Pass::kBackward, layer->BackwardStages());
    before_.resize(steps_.size());
    std::vector<int> joined;  // values that each step of the layer makes again, block by block
    for (const int value : layer->ReadInBackward()) {
      if (JoinRemake(value, stages)) {
        joined.push_back(value);
      } else {
        Require(value, &before_.back());
      }
    }
    plan_.backward_first[i] = LastStep();
    for (const RowStage& stage : stages) {
      if (!Joins(steps_, stage)) {
        steps_.push_back({Direction::kBackward, {}, true});
        for (const int value : joined) { JoinRemake(value, stages); }
      }
      Add(&steps_, layer, Pass::kBackward, stage);
    }
    plan_.backward[i] = LastStep();
    if (layer->IsSplit() && layer->uses[0].wanted) {
      waiting_.push_back(i);
      if (Bytes(layer->inputs[0]) <= Bytes(layer->output)) { RunLast(); }
    }
    before_.resize(steps_.size());
  }

  // A gradient that is larger than what it is computed from waits until a layer reads it or adds to it.
  void RunWaiting(const Layer& layer) {
    const auto concerns = [&](size_t waiting) {
      const int value = layers_[waiting]->inputs[0];
      return layer.output == value || std::count(layer.inputs.begin(), layer.inputs.end(), value) > 0;
    };
    while (!waiting_.empty() && std::any_of(waiting_.begin(), waiting_.end(), concerns)) {
      const auto first = std::find_if(waiting_.begin(), waiting_.end(), concerns);
      std::rotate(first, first + 1, waiting_.end());
      RunLast();
    }
    before_.resize(steps_.size());
  }

  void RunLast() {
    steps_.push_back({Direction::kBackward, {{layers_[waiting_.back()].get(), Pass::kInput}}});
    plan_.backward[waiting_.back()] = LastStep();
    waiting_.pop_back();
  }

  // Drops large values that were made again, unless the next layer reads them as a whole or needs them to make others
  // again. What is made row by row is made within the steps that read it.
  void Drop(Layer& next) {
    std::set<int> read, needed;
    for (const int value : next.ReadInBackward()) {
      if (next.BackwardStages().empty()) { read.insert(value); }
      CollectNeeded(value, &needed);
    }
    for (int value = 0; value < static_cast<int>(is_there_.size()); ++value) {
      if (!is_there_[value] || !keeping_.IsDropped(value) || read.count(value) > 0) { continue; }
      is_there_[value] = !IsMadeByRows(value) && needed.count(value) > 0;
    }
  }

  // Adds the value and those that are needed to make it again, where it is not sure to be there.
  void CollectNeeded(int value, std::set<int>* needed) const {
    if (plan_.is_kept[value] || !needed->insert(value).second) { return; }
    if (is_there_[value] && !(keeping_.IsDropped(value) && IsMadeByRows(value))) { return; }
    for (const int input : layers_[producers_[value]]->inputs) { CollectNeeded(input, needed); }
  }

  bool IsMadeByRows(int value) const {
    const std::vector<RowStage> stages = layers_[producers_[value]]->RemakeStages();
    return stages.size() == 1 && !stages.front().gathers && !stages.front().reduces && stages.front().block == 0;
  }

  // Makes a value again block by block within the last step, which a layer with these stages has just opened or joined.
  bool JoinRemake(int value, const std::vector<RowStage>& stages) {
    if (is_there_[value]) { return false; }
    Layer* const layer = layers_[producers_[value]].get();
    for (const int input : layer->inputs) {
      if (!is_there_[input]) { return false; }
    }
    const auto gathers = [](const RowStage& stage) { return stage.gathers; };
    if (!IsMadeByRows(value) || stages.empty() || std::any_of(stages.begin(), stages.end(), gathers)) { return false; }
    RowStage stage = layer->RemakeStages().front();
    if (stage.rows != stages.front().rows) { return false; }
    stage.width = 0;  // must not change the size of the blocks
    if (!Joins(steps_, stage)) { return false; }
    const std::pair<Layer*, Pass> part{layer, Pass::kRemake};
    const auto& parts = steps_.back().parts;
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) { Add(&steps_, layer, Pass::kRemake, stage); }
    is_there_[value] = !keeping_.IsDropped(value);
    return !is_there_[value];
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

  int64_t LastStep() const { return static_cast<int64_t>(steps_.size()) - 1; }
  // For one image.
  int64_t Bytes(int value) const { return values_[value].shape.Count() * BytesOf(values_[value].type); }

  const std::vector<std::unique_ptr<Layer>>& layers_;
  const std::vector<Value>& values_;
  const std::vector<size_t> producers_;
  const Keeping keeping_;
  // Of the backward pass so far: which values are there, its steps, what is made again before each, and the layers whose
  // input's gradient waits.
  std::vector<bool> is_there_;
  std::vector<Step> steps_;
  std::vector<std::vector<Step>> before_;
  std::vector<size_t> waiting_;
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
    case Pass::kParameters: return layer->GradientsOfParameters(context);
    case Pass::kInput: return layer->GradientOfInput(context);
  }
}

int64_t Step::ScratchBytes() const { return is_group ? group.ScratchBytes() : parts.front().first->ScratchBytes(); }

StepPlan PlanSteps(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose) {
  return Planner(layers, values, purpose).Take();
}

}  // namespace insightface
