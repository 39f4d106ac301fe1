// Where a network's values and gradients lie in its block, and in which steps.
#include <algorithm>

#include "network/plan/network.h"

namespace insightface {
namespace {

// The values that a step reads for a layer.
std::vector<int> ReadIn(const Layer& layer, Pass pass) {
  switch (pass) {
    case Pass::kForward:
    case Pass::kRemake: return layer.inputs;
    case Pass::kBackward:
    case Pass::kParameters: return layer.ReadInBackward();
    case Pass::kInput: return {};
  }
  return {};
}

}  // namespace

// A value lives from the last step of the layer that makes it to the last one that reads it.
void Network::PlaceValues() {
  const size_t count = assembly_.values.size();
  made_.assign(count, kNowhere);
  saved_.assign(assembly_.layers.size(), kNowhere);
  const int64_t end = static_cast<int64_t>(plan_.steps.size());
  for (int64_t time = 0; time < end; ++time) {
    for (const auto& [layer, pass] : plan_.steps[time].parts) {
      for (const int value : ReadIn(*layer, pass)) {
        const bool is_done = pass == Pass::kBackward && value == layer->output && layer->IsDoneWithOutputFirst() &&
                             time > plan_.backward_first[producers_[value]];
        if (!is_done && (pass == Pass::kForward || plan_.is_kept[value])) { arena_.Extend(made_[value], time); }
      }
      const bool writes = layer->output >= 0 && time == plan_.forward[producers_[layer->output]];
      if (pass != Pass::kForward || !writes) { continue; }
      int& place = made_[layer->output];
      if (place == kNowhere) { place = arena_.Add(Bytes(layer->output), time, time); }
      arena_.Extend(place, time);
    }
  }
  if (!training_) { return; }
  for (size_t value = 0; value < count; ++value) { kept_bytes_ += plan_.is_kept[value] ? Bytes(static_cast<int>(value)) : 0; }
  for (size_t i = 0; i < saved_.size(); ++i) {
    const int64_t bytes = assembly_.layers[i]->SavedBytes();
    if (bytes > 0) { saved_[i] = arena_.Add(bytes, 0, end); }
    kept_bytes_ += bytes;
  }
}

// A value that is made again lives until the last step that reads it before it is made once more.
void Network::PlaceRemade() {
  remade_.resize(plan_.steps.size());
  std::vector<Remade> lives;
  std::vector<int> newest(assembly_.values.size(), kNowhere);  // life of each value
  for (int64_t time = 0; time < static_cast<int64_t>(plan_.steps.size()); ++time) {
    for (const auto& [layer, pass] : plan_.steps[time].parts) {
      if (pass == Pass::kForward) { continue; }
      for (const int value : ReadIn(*layer, pass)) {
        if (!plan_.is_kept[value]) { lives[newest[value]].last = time; }
      }
      if (pass != Pass::kRemake) { continue; }
      int& number = newest[layer->output];
      if (number != kNowhere && lives[number].first == time) { continue; }
      number = static_cast<int>(lives.size());
      lives.push_back({layer->output, time, time, kNowhere});
    }
  }
  for (Remade& life : lives) {
    life.place = PlaceOfInput(lives, life);
    if (life.place == kNowhere) {
      life.place = arena_.Add(Bytes(life.value), life.first, life.last);
    } else {
      arena_.Extend(life.place, life.last);
    }
    remade_[life.first].emplace_back(life.value, life.place);
  }
}

// The block of a layer's input if the output, made again, may be written over it: nothing else reads the input any more.
int Network::PlaceOfInput(const std::vector<Remade>& lives, const Remade& output) const {
  const Layer& layer = *assembly_.layers[producers_[output.value]];
  if (!layer.MayOverwriteInput()) { return kNowhere; }
  const int input = layer.inputs.front();
  const auto is_input = [&](const Remade& life) { return life.value == input && life.first <= output.first; };
  const auto found = std::find_if(lives.rbegin(), lives.rend(), is_input);
  if (found == lives.rend() || found->last != output.first || Bytes(input) != Bytes(output.value)) { return kNowhere; }
  for (const auto& [other, pass] : plan_.steps[output.first].parts) {
    const std::vector<int> read = ReadIn(*other, pass);
    const bool is_remake = other == &layer && pass == Pass::kRemake;
    if (!is_remake && std::count(read.begin(), read.end(), input) > 0) { return kNowhere; }
  }
  return found->place;
}

void Network::PlaceGradients() {
  for (size_t i = assembly_.layers.size(); i-- > 0;) {
    Layer& layer = *assembly_.layers[i];
    for (size_t input = 0; input < layer.inputs.size(); ++input) {
      PlaceInputGradient(&layer, input, layer.WritesGradientLast() ? plan_.backward[i] : plan_.backward_first[i]);
    }
  }
}

// Decides where the gradient of an input lies, and whether the layer writes it, adds to it, or shares the memory of
// its output's gradient.
void Network::PlaceInputGradient(Layer* layer, size_t input, int64_t time) {
  GradientUse& use = layer->uses[input];
  const int value = layer->inputs[input];
  if (!use.wanted) { return; }
  int& gradient = gradients_[value];
  const size_t producer = producers_[value];
  const bool is_read_first = assembly_.layers[producer]->IsDoneWithOutputFirst();
  const int64_t read = (is_read_first ? plan_.backward_first : plan_.backward)[producer];
  if (gradient != kNowhere) {
    use.adds = true;
    return;
  }
  // One input may take over the memory of the output's gradient, as only this layer still reads it.
  bool taken = false;
  for (size_t other = 0; other < input; ++other) { taken = taken || layer->uses[other].shared; }
  if (layer->PassesGradient(input) && !taken) {
    use.shared = true;
    gradient = gradients_[layer->output];
    arena_.Extend(gradient, read);
  } else if (OverwritesGradient(*layer)) {
    gradient = gradients_[layer->output];
    arena_.Extend(gradient, read);
  } else {
    gradient = arena_.Add(Bytes(value), time, read);
  }
}

// Whether the gradient of the layer's only input takes the place of its output's, which then needs to be in the caches
// only once. Where the next layer belongs to the same group, blocks of a map of its own are still better.
bool Network::OverwritesGradient(const Layer& layer) const {
  if (!layer.MayOverwriteGradient()) { return false; }  // as the embeddings, which have no output
  const size_t number = producers_[layer.output], next = producers_[layer.inputs.front()];
  if (plan_.backward_first[next] <= plan_.backward[number]) { return false; }
  for (size_t value = 0; value < gradients_.size(); ++value) {
    const size_t producer = producers_[value];
    const bool is_read_later = producer < number || plan_.backward[producer] > plan_.backward[number];
    const bool is_other = static_cast<int>(value) != layer.output;
    if (gradients_[value] == gradients_[layer.output] && is_other && is_read_later) { return false; }
  }
  return true;
}

// They live on after the last step, until the caller has read them, unless an update uses them up before.
void Network::PlaceParameterGradients() {
  const int64_t end = static_cast<int64_t>(plan_.steps.size());
  parameter_blocks_.resize(assembly_.parameter_counts.size());
  updated_after_.resize(plan_.steps.size());
  for (size_t i = 0; i < assembly_.layers.size(); ++i) {
    for (const int parameter : assembly_.layers[i]->parameters) {
      const bool is_used_up = !used_up_.empty() && used_up_[parameter] == '1';
      const int64_t piece = is_used_up ? assembly_.layers[i]->PieceOfGradient(parameter) : 0;
      const int64_t count = piece > 0 ? piece : assembly_.parameter_counts[parameter];
      const int64_t last = is_used_up ? plan_.backward[i] : end;
      parameter_blocks_[parameter] =
          arena_.Add(count * static_cast<int64_t>(sizeof(float)), plan_.backward_first[i], last);
      if (is_used_up && piece == 0) { updated_after_[plan_.backward[i]].push_back(parameter); }
    }
  }
}

// A map that only one group of row stages needs is never whole in memory: each thread holds its block of rows.
void Network::HoldBlocks() {
  for (int value = 0; value < static_cast<int>(made_.size()); ++value) {
    HoldBlocks(value, false, made_[value]);
    HoldBlocks(value, true, gradients_[value]);
  }
  for (const auto& step : remade_) {
    for (const auto& [value, place] : step) { HoldBlocks(value, false, place); }
  }
}

void Network::HoldBlocks(int value, bool is_gradient, int place) {
  const int64_t time = place == kNowhere ? -1 : arena_.OnlyTime(place);
  if (time < 0 || !plan_.steps[time].is_group) { return; }
  RowGroup& group = plan_.steps[time].group;
  const int64_t rows = batch_ * assembly_.values[value].shape.Pixels();
  if (group.Rows() != rows) { return; }
  const RowMap map{value, is_gradient, Bytes(value) / rows};
  arena_.Resize(place, group.HeldBytes(map));
  group.Hold(map);
}

// Placed last: what a layer needs depends on how it uses the gradients of its inputs.
void Network::PlaceScratch() {
  for (size_t time = 0; time < plan_.steps.size(); ++time) {
    const int64_t at = static_cast<int64_t>(time);
    scratch_.push_back(arena_.Add(plan_.steps[time].ScratchBytes(), at, at));
  }
}

}  // namespace insightface
