// A network for one batch size, ready to run: what a compiler makes of a program, this makes of a description.
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

// The caller's memory. Arrays come in the order of the description.
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
  // Throws std::invalid_argument or dnnl::error when the network cannot be executed here.
  Network(const std::string& description, int64_t batch, NumberType type, bool training);

  int64_t SavedBytes() const { return saved_bytes_; }
  int64_t EmbeddingSize() const { return assembly_.embedding_size; }
  void Forward(const NetworkMemory& memory);
  void Backward(const NetworkMemory& memory);

 private:
  // Where something lies: in the memory kept for the backward pass, or in that of the network's own.
  struct Place {
    enum Kind { kNowhere, kSaved, kWork } kind = kNowhere;
    int64_t number = 0;  // offset, or the block of the arena
  };

  // What is done at one time: a layer that is no row stages, or a group of stages.
  struct Step {
    Layer* layer = nullptr;
    RowGroup group;
  };

  void PlanSteps();
  void PlaceValues();
  void PlaceGradients();
  void MeetGradient(Layer* layer, size_t input, int64_t time);
  Run MakeRun(const NetworkMemory& memory);
  void* Resolve(const Place& place, char* saved) const;
  int64_t Bytes(int value) const;
  int64_t ScratchBytes() const;

  const int64_t batch_;
  const bool training_;
  Assembly assembly_;
  std::vector<Step> forward_, backward_;
  // When each layer is done, forward and backward: numbers of steps, the backward ones after the forward ones.
  std::vector<int64_t> forward_times_, backward_times_;
  std::vector<size_t> producers_;  // of each value
  std::vector<bool> wants_gradient_;
  std::vector<Place> values_, gradients_;
  Arena arena_;
  int64_t saved_bytes_ = 0;
  std::unique_ptr<AlignedBytes> work_, scratch_;
  std::vector<void*> value_pointers_, gradient_pointers_;
  std::mutex running_;  // the memory serves one execution at a time
};

// The network for these arguments, made on first use and kept for the next.
std::shared_ptr<Network> GetNetwork(const std::string& description, int64_t batch, bool bfloat16, bool training);

}  // namespace insightface
