#include "network/plan/network.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/lru_cache.h"

namespace insightface {
Network::Network(const NetworkKey& key)
    : batch_(key.batch),
      training_(key.purpose != Purpose::kInference),
      holds_gradients_(key.holds_gradients),
      used_up_(key.used_up),
      assembly_(Assemble(key.description, key.batch, key.type, training_)) {
  const size_t count = assembly_.values.size();
  producers_.resize(count);
  std::vector<bool> wants_gradient(count, false);
  for (size_t i = 0; i < assembly_.layers.size(); ++i) {
    Layer& layer = *assembly_.layers[i];
    bool wants = layer.HasParameters();
    for (size_t input = 0; input < layer.inputs.size(); ++input) {
      layer.uses[input].wanted = wants_gradient[layer.inputs[input]];
      wants = wants || layer.uses[input].wanted;
    }
    if (layer.output >= 0) {
      producers_[layer.output] = i;
      wants_gradient[layer.output] = wants;
    }
  }
  plan_ = PlanSteps(assembly_.layers, assembly_.values, key.purpose);
  PlaceValues();
  if (training_) { PlaceRemade(); }
  gradients_.assign(count, kNowhere);
  if (training_) {
    PlaceGradients();
    if (holds_gradients_) { PlaceParameterGradients(); }
  }
  HoldBlocks();
  PlaceScratch();
  arena_.Place();
  for (size_t i = 0; i < saved_.size(); ++i) {
    if (saved_[i] != kNowhere) { assembly_.layers[i]->saved_offset = arena_.Offset(saved_[i]); }
  }
}

int64_t Network::Bytes(int value) const {
  const Value& v = assembly_.values[value];
  return batch_ * v.shape.Count() * BytesOf(v.type);
}

int64_t Network::CopyBytes() const {
  int64_t bytes = 0;
  for (const auto& layer : assembly_.layers) { bytes += layer->CopyBytes(); }
  return bytes;
}

// No later step reads a parameter that is updated here: its layer's backward step is the last one that does.
void Network::Update(const NetworkMemory& memory, const std::vector<float*>& gradients, size_t step) const {
  for (const int parameter : updated_after_[step]) {
    memory.updates->Apply(parameter, 0, assembly_.parameter_counts[parameter], gradients[parameter],
                          const_cast<float*>(memory.parameters[parameter]));
  }
}

void Network::Run(const NetworkMemory& memory, Direction direction) {
  const std::lock_guard<std::mutex> lock(running_);
  if (!training_ && own_ == nullptr) { own_ = std::make_unique<AlignedBytes>(arena_.Bytes()); }
  char* const block = training_ ? AlignPointer(memory.block) : own_->data();
  const auto address = [&](int place) { return place == kNowhere ? nullptr : block + arena_.Offset(place); };
  std::vector<void*> values, gradients;
  for (size_t value = 0; value < made_.size(); ++value) {
    values.push_back(address(made_[value]));
    gradients.push_back(address(gradients_[value]));
  }
  std::vector<float*> parameter_gradients = memory.parameter_gradients;
  if (holds_gradients_) {
    parameter_gradients.clear();
    for (const int place : parameter_blocks_) { parameter_gradients.push_back(reinterpret_cast<float*>(address(place))); }
  }
  const UseGradient use_gradient = [&](int parameter, int64_t first, int64_t count, const float* gradient) {
    if (memory.updates == nullptr) { return; }
    memory.updates->Apply(parameter, first, count, gradient, const_cast<float*>(memory.parameters[parameter]));
  };
  ExecutionContext context{batch_,
                           &values,
                           &gradients,
                           block,
                           nullptr,
                           memory.parameters.data(),
                           memory.moving.data(),
                           parameter_gradients.data(),
                           &used_up_,
                           &use_gradient,
                           memory.images,
                           memory.keep,
                           memory.keep_width,
                           memory.embeddings,
                           memory.embedding_gradients,
                           memory.arrays_version};
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (plan_.steps[i].direction != direction) { continue; }
    context.scratch = address(scratch_[i]);
    if (training_) {
      for (const auto& [value, place] : remade_[i]) { values[value] = address(place); }
    }
    plan_.steps[i].Run(context);
    if (memory.updates != nullptr && direction == Direction::kBackward) { Update(memory, parameter_gradients, i); }
  }
}

void Network::Forward(const NetworkMemory& memory) { Run(memory, Direction::kForward); }

void Network::Backward(const NetworkMemory& memory) { Run(memory, Direction::kBackward); }

std::shared_ptr<Network> GetNetwork(const NetworkKey& key) {
  // Enough for training and verification of one network, and a few other batch sizes.
  constexpr size_t kKept = 6;
  static LruCache<std::string, std::shared_ptr<Network>, std::hash<std::string>> networks(kKept);
  std::string name;
  for (const int64_t part : {key.batch, static_cast<int64_t>(key.type), static_cast<int64_t>(key.purpose),
                             static_cast<int64_t>(key.holds_gradients)}) {
    name += std::to_string(part) + " ";
  }
  name += key.used_up + " ";
  return *networks.Get(name + key.description, [&] {
    return std::make_shared<const std::shared_ptr<Network>>(std::make_shared<Network>(key));
  });
}

}  // namespace insightface
