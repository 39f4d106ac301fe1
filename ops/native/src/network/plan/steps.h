// The order in which a network's layers run, and which values are made again for the backward pass.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "network/layers/row_group.h"
#include "network/plan/keeping.h"

namespace insightface {

enum class Direction { kForward, kBackward };

// What a step does for a layer: computes its value, computes it again for the backward pass, or its gradients; those of
// a split layer in two steps.
enum class Pass { kForward, kRemake, kBackward, kParameters, kInput };

// A layer without row stages, or a group of row stages of several layers.
struct Step {
  Direction direction;
  std::vector<std::pair<Layer*, Pass>> parts;
  bool is_group = false;
  RowGroup group{};

  void Run(const ExecutionContext& context) const;
  int64_t ScratchBytes() const;
};

struct StepPlan {
  std::vector<Step> steps;
  // The number of the last step of each layer in a direction, and of its first backward one. The gradients of its inputs
  // are written from the first one on, or, if it is split, in the last one.
  std::vector<int64_t> forward, backward_first, backward;
  std::vector<bool> is_kept;  // values that the backward pass reads as the forward pass left them
};

// The inputs of the layers must come before their outputs, and `uses` of the layers must be set.
StepPlan PlanSteps(const std::vector<std::unique_ptr<Layer>>& layers, const std::vector<Value>& values, Purpose purpose);

}  // namespace insightface
