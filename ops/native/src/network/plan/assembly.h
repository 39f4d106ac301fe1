// From the description of a network to its layers.
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
};

// Throws std::invalid_argument for a network with a node that no layer computes, dnnl::error when oneDNN refuses one.
Assembly Assemble(const std::string& description, int64_t batch, NumberType type, bool training);

}  // namespace insightface
