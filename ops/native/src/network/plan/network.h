// A network for one batch size, compiled from its description into layers with planned memory.
//
//   const auto network = GetNetwork(description, batch, /*bfloat16=*/false, /*training=*/true);
//   NetworkMemory memory;
//   memory.images = {pixels, /*are_bytes=*/true, /*outer_axis=*/3};
//   memory.parameters = parameters;      // and memory.moving, in the order of the description
//   memory.embeddings = embeddings;      // [batch, network->EmbeddingSize()]
//   memory.saved = saved;                // network->SavedBytes() bytes
//   network->Forward(memory);
//   memory.embedding_gradients = dy;     // and memory.parameter_gradients
//   network->Backward(memory);
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/prepared.h"
#include "network/layers/row_group.h"
#include "network/plan/arena.h"
#include "network/plan/assembly.h"

namespace insightface {

// The caller's memory; arrays are in the order of the description.
struct NetworkMemory {
  Images images;
  const uint8_t* keep = nullptr;  // [batch, keep_width]; null for a network without dropout
  int64_t keep_width = 0;
  std::vector<const float*> parameters;
  std::vector<float*> moving;  // updated by Forward in training
  std::vector<float*> parameter_gradients;
  float* embeddings = nullptr;  // [batch, embedding size]
  const float* embedding_gradients = nullptr;
  char* saved = nullptr;  // SavedBytes() bytes from a training Forward to its Backward
};

class Network {
 public:
  // Throws std::invalid_argument or dnnl::error if the network cannot be executed here.
  Network(const std::string& description, int64_t batch, NumberType type, bool training);

  int64_t SavedBytes() const { return saved_bytes_; }
  int64_t EmbeddingSize() const { return assembly_.embedding_size; }
  void Forward(const NetworkMemory& memory);
  void Backward(const NetworkMemory& memory);

 private:
  // The place of a value: in the memory saved for the backward pass, or in the network's own.
  struct Place {
    enum Kind { kNowhere, kSaved, kWork } kind = kNowhere;
    int64_t number = 0;  // offset, or the block of the arena
  };

  // One step of the execution: a layer without row stages, or a group of stages.
  struct Step {
    Layer* layer = nullptr;
    RowGroup group;
  };

  void PlanSteps();
  void PlaceValues();
  void PlaceGradients();
  void PlaceInputGradient(Layer* layer, size_t input, int64_t time);
  ExecutionContext MakeContext(const NetworkMemory& memory);
  void* Resolve(const Place& place, char* saved) const;
  int64_t Bytes(int value) const;
  int64_t ScratchBytes() const;

  const int64_t batch_;
  const bool training_;
  Assembly assembly_;
  std::vector<Step> forward_, backward_;
  // The number of the last step of each layer; backward steps are numbered after the forward ones.
  std::vector<int64_t> forward_times_, backward_times_;
  std::vector<size_t> producers_;  // of each value
  std::vector<bool> wants_gradient_;
  std::vector<Place> values_, gradients_;
  Arena arena_;
  int64_t saved_bytes_ = 0;
  std::unique_ptr<AlignedBytes> work_, scratch_;
  std::vector<void*> value_pointers_, gradient_pointers_;
  std::mutex running_;  // one execution uses the memory at a time
};

// Returns the network for these arguments, cached after its first use.
std::shared_ptr<Network> GetNetwork(const std::string& description, int64_t batch, bool bfloat16, bool training);

}  // namespace insightface
