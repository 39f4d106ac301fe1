// What a network is executed as: layers that compute one value from others, forward and backward.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "network/arithmetic/value.h"
#include "network/layers/row_stage.h"

namespace insightface {

// What comes in: [batch, channels, height, width], or [batch, height, width, channels]; bytes or float32.
struct Images {
  const void* data = nullptr;
  bool are_bytes = false;
  int64_t outer_axis = 0;  // extent of the axis after the batch: the number of channels, unless they come last
};

// The memory of one execution.
struct Run {
  int64_t batch;
  // Where each value and its gradient lie; a value without gradient has a null one.
  const std::vector<void*>* values;
  const std::vector<void*>* gradients;
  char* saved;    // what layers leave for their backward pass, beside values
  char* scratch;  // theirs while they run
  // Arrays of the network in the order of the description.
  const float* const* parameters;
  float* const* moving;
  float* const* parameter_gradients;
  // Outside memory.
  Images images;
  const uint8_t* keep;  // [batch, keep_width], which values dropout keeps
  int64_t keep_width;
  float* embeddings;  // [batch, size]
  const float* embedding_gradients;

  template<typename T>
  T* ValueAt(int value) const {
    return static_cast<T*>((*values)[value]);
  }
  template<typename T>
  T* GradientAt(int value) const {
    return static_cast<T*>((*gradients)[value]);
  }
};

// How a layer meets the gradient of one of its inputs.
struct GradientUse {
  bool wanted = false;  // the input depends on a parameter
  bool adds = false;    // another layer has written its part already
  bool shared = false;  // it is the memory of the output's gradient, which passes through unchanged
};

class Layer {
 public:
  Layer(std::vector<int> layer_inputs, int layer_output)
      : inputs(std::move(layer_inputs)), output(layer_output), uses(inputs.size()) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  virtual void Forward(const Run& run);
  // Writes (or adds to) the gradients of the inputs that want one and writes those of its parameters.
  virtual void Backward(const Run& run);

  // The whole of Forward or Backward as stages, one after the other, for a layer that goes row by row.
  virtual std::vector<RowStage> ForwardStages() { return {}; }
  virtual std::vector<RowStage> BackwardStages() { return {}; }

  // Values that Backward reads.
  virtual std::vector<int> ReadBackward() const { return {}; }
  // Whether the gradient of the output is, unchanged, this input's share.
  virtual bool PassesGradient(size_t) const { return false; }
  virtual bool HasParameters() const { return false; }
  virtual int64_t SavedBytes() const { return 0; }
  virtual int64_t ScratchBytes();

  const std::vector<int> inputs;
  const int output;
  // Set by the plan before anything runs.
  std::vector<GradientUse> uses;
  int64_t saved_offset = 0;
};

}  // namespace insightface
