// The layers that execute a network: each computes one value from others, forward and backward.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "network/arithmetic/upcoming.h"
#include "network/arithmetic/value.h"
#include "network/layers/row_stage.h"

namespace insightface {

// The images of a batch: [batch, channels, height, width], or [batch, height, width, channels]; bytes or float32.
struct Images {
  const void* data = nullptr;
  bool are_bytes = false;
  int64_t outer_axis = 0;  // extent of the axis after the batch: the number of channels, unless they are last
};

// Takes the gradient of consecutive numbers of a parameter, from number `first` on, and uses it up.
using UseGradient = std::function<void(int parameter, int64_t first, int64_t count, const float* gradient)>;

// The memory of one execution.
struct ExecutionContext {
  int64_t batch;
  // The address of each value and of its gradient; null for a value without a gradient.
  const std::vector<void*>* values;
  const std::vector<void*>* gradients;
  char* saved;    // data of layers for their backward pass, beside values
  char* scratch;  // for the layer that is running
  // Arrays of the network, in the order of the description.
  const float* const* parameters;
  float* const* moving;
  float* const* parameter_gradients;
  // Which gradients of parameters are used up within Backward: a character each, '1' or '0'; empty: none. A layer that
  // computes such a gradient in pieces gives each piece to `use_gradient`.
  const std::string* used_up;
  const UseGradient* use_gradient;
  // The caller's memory.
  Images images;
  const uint8_t* keep;  // [batch, keep_width]: which values dropout keeps
  int64_t keep_width;
  float* embeddings;  // [batch, size]
  const float* embedding_gradients;
  int64_t arrays_version;  // see NetworkMemory
  // Within a group of row stages: what the thread needs for its next block.
  Upcoming* upcoming = nullptr;

  bool UsesUp(int parameter) const { return !used_up->empty() && (*used_up)[parameter] == '1'; }
  template<typename T>
  T* ValueAt(int value) const {
    return static_cast<T*>((*values)[value]);
  }
  template<typename T>
  T* GradientAt(int value) const {
    return static_cast<T*>((*gradients)[value]);
  }
};

// How a layer contributes to the gradient of one of its inputs.
struct GradientUse {
  bool wanted = false;  // the input depends on a parameter
  bool adds = false;    // another layer has already written its part
  bool shared = false;  // shares the memory of the output's gradient, which passes through unchanged
};

class Normalisation;

class Layer {
 public:
  Layer(std::vector<int> layer_inputs, int layer_output)
      : inputs(std::move(layer_inputs)), output(layer_output), uses(inputs.size()) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  virtual void Forward(const ExecutionContext& context);
  // Computes the output again for the backward pass, bit for bit, without changing anything else.
  virtual void Remake(const ExecutionContext& context);
  // Writes, or adds to, the gradients of inputs that want one, and writes those of the layer's parameters.
  virtual void Backward(const ExecutionContext& context);
  // Whether Backward is GradientsOfParameters, which alone reads values, then GradientOfInput: the plan runs them as two
  // steps, so that no memory holds the values during the second.
  virtual bool IsSplit() const { return false; }
  virtual void GradientsOfParameters(const ExecutionContext&) {}
  virtual void GradientOfInput(const ExecutionContext&) {}

  // Forward or Backward as a sequence of stages, for a layer that works row by row.
  virtual std::vector<RowStage> ForwardStages() { return {}; }
  virtual std::vector<RowStage> BackwardStages() { return {}; }
  virtual std::vector<RowStage> RemakeStages() { return ForwardStages(); }

  // Values that Backward reads.
  virtual std::vector<int> ReadInBackward() const { return {}; }
  // Whether only the last step of Backward writes the gradients of inputs.
  virtual bool WritesGradientLast() const { return IsSplit(); }
  // Whether only the first step of Backward reads the output and its gradient.
  virtual bool IsDoneWithOutputFirst() const { return false; }
  // Whether the gradient of this input is the gradient of the output, unchanged.
  virtual bool PassesGradient(size_t) const { return false; }
  // Takes over a part of the backward pass of `next`, the only layer that reads the output, if both can do that.
  virtual void TakeOver(Layer& /*next*/) {}
  // Leaves the gradient of the only input to the layer before it, which computes it from that of the output and what the
  // result holds; null if it does not.
  virtual const Normalisation* LeaveInputGradient() { return nullptr; }
  // Whether the gradient of the only input may be written over that of the output.
  virtual bool MayOverwriteGradient() const { return false; }
  // Whether Remake may write the output over the first input.
  virtual bool MayOverwriteInput() const { return false; }
  // Whether Remake takes little longer than reading the inputs, so that the output is not worth its memory.
  virtual bool IsCheap() const { return false; }
  virtual bool HasParameters() const { return false; }
  // The numbers of a parameter's gradient that Backward computes at a time, which alone then need memory if they are used
  // up at once; 0: all together. It must have read the parameter by then.
  virtual int64_t PieceOfGradient(int) const { return 0; }
  virtual int64_t SavedBytes() const { return 0; }
  // Copies of weights that the layer holds between executions.
  virtual int64_t CopyBytes() const { return 0; }
  virtual int64_t ScratchBytes();

  const std::vector<int> inputs;
  const int output;
  // Set by the plan before anything runs.
  std::vector<GradientUse> uses;
  std::vector<int> parameters;  // numbers of the arrays whose gradients Backward writes
  int64_t saved_offset = 0;
};

// A layer of one input whose backward pass has two parts.
class SplitLayer : public Layer {
 public:
  using Layer::Layer;
  void Backward(const ExecutionContext& context) final {
    GradientsOfParameters(context);
    if (uses[0].wanted) { GradientOfInput(context); }
  }
  bool IsSplit() const final { return true; }
};

}  // namespace insightface
