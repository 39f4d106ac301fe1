// A network for one batch size, compiled from its description into layers with planned memory.
//
//   const auto network = GetNetwork({description, batch, NumberType::kFloat32, Purpose::kTraining});
//   NetworkMemory memory;
//   memory.images = {pixels, /*are_bytes=*/true, /*outer_axis=*/3};
//   memory.parameters = parameters;      // and memory.moving, in the order of the description
//   memory.embeddings = embeddings;      // [batch, network->EmbeddingSize()]
//   memory.block = block;                // network->BlockBytes() bytes
//   network->Forward(memory);
//   memory.embedding_gradients = dy;     // and memory.parameter_gradients, or memory.updates
//   network->Backward(memory);
//
// A training needs one block from Forward to Backward; all that it computes lies there, each part only while something
// still reads it. Backward uses up what Forward left in the block, so one Backward follows one Forward.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/alignment.h"
#include "base/prepared.h"
#include "network/plan/arena.h"
#include "network/plan/assembly.h"
#include "network/plan/steps.h"
#include "network/plan/updates.h"

namespace insightface {

// What a network is compiled for.
struct NetworkKey {
  std::string description;
  int64_t batch;
  NumberType type;
  Purpose purpose = Purpose::kInference;
  // Training: the gradients of the parameters lie in the block, at GradientOffset.
  bool holds_gradients = false;
  // With it, a character for each parameter: '1' if its gradient is used up by an update within Backward, so that it
  // takes memory only meanwhile. Empty: none is.
  std::string used_up{};
};

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
  char* block = nullptr;  // training: BlockBytes() bytes
  // In inference: executions with one number, unless it is 0, have equal arrays, so only the first looks whether they have
  // changed..
  int64_t arrays_version = 0;
  Updates* updates = nullptr;  // of the parameters whose gradients are used up
};

class Network {
 public:
  // Throws std::invalid_argument or dnnl::error if the network cannot be executed here.
  explicit Network(const NetworkKey& key);

  // The memory of one execution; in inference it is the network's own.
  int64_t BlockBytes() const { return arena_.Bytes() + kAlignment; }
  // The part of it with what the backward pass needs of the forward pass.
  int64_t KeptBytes() const { return kept_bytes_; }
  // Copies of weights in other layouts, which live as long as the network.
  int64_t CopyBytes() const;
  // Where the gradient of a parameter lies in a block that starts at an aligned address.
  int64_t GradientOffset(size_t parameter) const { return arena_.Offset(parameter_blocks_[parameter]); }
  int64_t ParameterCount() const { return static_cast<int64_t>(assembly_.parameter_counts.size()); }
  int64_t EmbeddingSize() const { return assembly_.embedding_size; }
  void Forward(const NetworkMemory& memory);
  void Backward(const NetworkMemory& memory);

 private:
  static constexpr int kNowhere = -1;

  // A value from one time that it is made again to the last step that reads it.
  struct Remade {
    int value;
    int64_t first, last;
    int place;
  };

  void PlaceValues();
  void PlaceRemade();
  int PlaceOfInput(const std::vector<Remade>& lives, const Remade& output) const;
  void PlaceGradients();
  void PlaceInputGradient(Layer* layer, size_t input, int64_t time);
  bool OverwritesGradient(const Layer& layer) const;
  void PlaceParameterGradients();
  void HoldBlocks();
  void HoldBlocks(int value, bool is_gradient, int place);
  void PlaceScratch();
  void Update(const NetworkMemory& memory, const std::vector<float*>& gradients, size_t step) const;
  void Run(const NetworkMemory& memory, Direction direction);
  int64_t Bytes(int value) const;

  const int64_t batch_;
  const bool training_, holds_gradients_;
  const std::string used_up_;
  Assembly assembly_;
  StepPlan plan_;
  std::vector<size_t> producers_;  // of each value
  // Blocks of the arena: of each value in the forward pass; of its gradient; of what a layer saves beside values; of each
  // step's scratch memory; of each parameter's gradient.
  std::vector<int> made_, gradients_, saved_, scratch_, parameter_blocks_;
  // The values that each step makes again, and their blocks. A value may be made again several times.
  std::vector<std::vector<std::pair<int, int>>> remade_;
  std::vector<std::vector<int>> updated_after_;  // parameters whose gradients are used up after each step
  Arena arena_;
  int64_t kept_bytes_ = 0;
  std::unique_ptr<AlignedBytes> own_;  // in inference
  std::mutex running_;                 // layers keep the state of one execution at a time
};

// Returns the network for the key, cached after its first use.
std::shared_ptr<Network> GetNetwork(const NetworkKey& key);

}  // namespace insightface
