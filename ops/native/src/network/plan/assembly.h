// Turns the description of a network into layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

struct Assembly {
  std::vector<Value> values;
  std::vector<std::unique_ptr<Layer>> layers;  // in the order they run
  int64_t embedding_size;
  std::vector<int64_t> parameter_counts;  // numbers in each parameter
};

// Throws std::invalid_argument if no layer computes one of the nodes, dnnl::error if oneDNN does not support one.
Assembly Assemble(const std::string& description, int64_t batch, NumberType type, bool training);

}  // namespace insightface
