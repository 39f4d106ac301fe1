#include "network/plan/network.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/lru_cache.h"

namespace insightface {
Network::Network(const std::string& description, int64_t batch, NumberType type, bool training)
    : batch_(batch), training_(training), assembly_(Assemble(description, batch, type, training)) {
  const size_t count = assembly_.values.size();
  producers_.resize(count);
  wants_gradient_.assign(count, false);
  values_.resize(count);
  gradients_.resize(count);
  for (size_t i = 0; i < assembly_.layers.size(); ++i) {
    Layer& layer = *assembly_.layers[i];
    bool wants = layer.HasParameters();
    for (size_t input = 0; input < layer.inputs.size(); ++input) {
      layer.uses[input].wanted = wants_gradient_[layer.inputs[input]];
      wants = wants || layer.uses[input].wanted;
    }
    if (layer.output >= 0) {
      producers_[layer.output] = i;
      wants_gradient_[layer.output] = wants;
    }
  }
  PlanSteps();
  PlaceValues();
  if (training_) { PlaceGradients(); }
  arena_.Place();
  work_ = std::make_unique<AlignedBytes>(arena_.Bytes());
  // Computed last: what a layer needs depends on how it uses the gradients of its inputs.
  scratch_ = std::make_unique<AlignedBytes>(ScratchBytes());
}

// Joins the stages of consecutive layers into groups.
void Network::PlanSteps() {
  const auto plan = [](std::vector<Step>* steps, Layer* layer, const std::vector<RowStage>& stages) {
    if (stages.empty()) { steps->push_back({layer, {}}); }
    for (const RowStage& stage : stages) {
      if (steps->empty() || steps->back().layer != nullptr || !steps->back().group.Accepts(stage)) {
        steps->emplace_back();
      }
      steps->back().group.Add(stage);
    }
    return static_cast<int64_t>(steps->size()) - 1;
  };
  const size_t count = assembly_.layers.size();
  for (const auto& layer : assembly_.layers) {
    forward_times_.push_back(plan(&forward_, layer.get(), layer->ForwardStages()));
  }
  if (!training_) { return; }
  backward_times_.resize(count);
  for (size_t i = count; i-- > 0;) {
    Layer* const layer = assembly_.layers[i].get();
    const int64_t step = plan(&backward_, layer, layer->BackwardStages());
    backward_times_[i] = static_cast<int64_t>(forward_.size()) + step;
  }
}

int64_t Network::ScratchBytes() const {
  int64_t bytes = 0;
  for (const std::vector<Step>* steps : {&forward_, &backward_}) {
    for (const Step& step : *steps) {
      bytes = std::max(bytes, step.layer != nullptr ? step.layer->ScratchBytes() : step.group.ScratchBytes());
    }
  }
  return bytes;
}

int64_t Network::Bytes(int value) const {
  const Value& v = assembly_.values[value];
  return batch_ * v.shape.Count() * BytesOf(v.type);
}

void Network::PlaceValues() {
  const size_t count = assembly_.values.size();
  std::vector<int64_t> last_use(count);
  std::vector<bool> read_backward(count, false);
  for (size_t i = 0; i < assembly_.layers.size(); ++i) {
    Layer& layer = *assembly_.layers[i];
    for (const int input : layer.inputs) { last_use[input] = forward_times_[i]; }
    if (!training_) { continue; }
    for (const int value : layer.ReadInBackward()) { read_backward[value] = true; }
    layer.saved_offset = saved_bytes_;
    saved_bytes_ += AlignedSize(layer.SavedBytes());
  }
  for (size_t value = 0; value < count; ++value) {
    if (read_backward[value]) {
      values_[value] = {Place::kSaved, saved_bytes_};
      saved_bytes_ += AlignedSize(Bytes(static_cast<int>(value)));
    } else {
      const int64_t made = forward_times_[producers_[value]];
      values_[value] = {Place::kWork, arena_.Add(Bytes(static_cast<int>(value)), made, last_use[value])};
    }
  }
  if (training_) { saved_bytes_ += kAlignment; }  // the caller's memory may start anywhere
}

void Network::PlaceGradients() {
  for (size_t i = assembly_.layers.size(); i-- > 0;) {
    Layer& layer = *assembly_.layers[i];
    for (size_t input = 0; input < layer.inputs.size(); ++input) {
      PlaceInputGradient(&layer, input, backward_times_[i]);
    }
  }
}

// Decides where the gradient of an input lies, and whether the layer writes it, adds to it, or shares the memory of
// its output's gradient.
void Network::PlaceInputGradient(Layer* layer, size_t input, int64_t time) {
  GradientUse& use = layer->uses[input];
  const int value = layer->inputs[input];
  if (!use.wanted) { return; }
  Place& gradient = gradients_[value];
  const int64_t read = backward_times_[producers_[value]];
  if (gradient.kind != Place::kNowhere) {
    use.adds = true;
    return;
  }
  // One input may take over the memory of the output's gradient, as only this layer still reads it.
  bool taken = false;
  for (size_t other = 0; other < input; ++other) { taken = taken || layer->uses[other].shared; }
  if (layer->PassesGradient(input) && !taken) {
    use.shared = true;
    gradient = gradients_[layer->output];
    arena_.Extend(static_cast<int>(gradient.number), read);
  } else {
    gradient = {Place::kWork, arena_.Add(Bytes(value), time, read)};
  }
}

void* Network::Resolve(const Place& place, char* saved) const {
  switch (place.kind) {
    case Place::kSaved: return saved + place.number;
    case Place::kWork: return work_->data() + arena_.Offset(static_cast<int>(place.number));
    default: return nullptr;
  }
}

ExecutionContext Network::MakeContext(const NetworkMemory& memory) {
  char* const saved = memory.saved != nullptr ? AlignPointer(memory.saved) : nullptr;
  value_pointers_.clear();
  gradient_pointers_.clear();
  for (const Place& place : values_) { value_pointers_.push_back(Resolve(place, saved)); }
  for (const Place& place : gradients_) { gradient_pointers_.push_back(Resolve(place, saved)); }
  return {batch_,
          &value_pointers_,
          &gradient_pointers_,
          saved,
          scratch_->data(),
          memory.parameters.data(),
          memory.moving.data(),
          memory.parameter_gradients.data(),
          memory.images,
          memory.keep,
          memory.keep_width,
          memory.embeddings,
          memory.embedding_gradients};
}

void Network::Forward(const NetworkMemory& memory) {
  const std::lock_guard<std::mutex> lock(running_);
  const ExecutionContext context = MakeContext(memory);
  for (const Step& step : forward_) { step.layer != nullptr ? step.layer->Forward(context) : step.group.Run(context); }
}

void Network::Backward(const NetworkMemory& memory) {
  const std::lock_guard<std::mutex> lock(running_);
  const ExecutionContext context = MakeContext(memory);
  for (const Step& step : backward_) {
    step.layer != nullptr ? step.layer->Backward(context) : step.group.Run(context);
  }
}

std::shared_ptr<Network> GetNetwork(const std::string& description, int64_t batch, bool bfloat16, bool training) {
  // Enough for training and verification of one network, and a few other batch sizes.
  constexpr size_t kKept = 6;
  static LruCache<std::string, std::shared_ptr<Network>, std::hash<std::string>> networks(kKept);
  const std::string key = std::to_string(batch) + (bfloat16 ? " bfloat16 " : " float32 ") +
                          (training ? "training\n" : "inference\n") + description;
  return *networks.Get(key, [&] {
    const NumberType type = bfloat16 ? NumberType::kBFloat16 : NumberType::kFloat32;
    return std::make_shared<const std::shared_ptr<Network>>(
        std::make_shared<Network>(description, batch, type, training));
  });
}

}  // namespace insightface
