// Groups nodes that one layer computes together.
#pragma once

#include <vector>

#include "network/plan/description.h"

namespace insightface {

// Nodes that each read the one before; other nodes see only the value of the last one.
struct Chain {
  std::vector<int> nodes;
  int addend = -1;  // node whose value the last node, an addition, adds
};

// Returns the chains in execution order. In training a batch normalisation and the PReLU or addition that follows form
// a chain, to which a depthwise 3x3 convolution may belong; in inference a convolution with all of these does. Flatten
// belongs to no chain: it moves no data.
std::vector<Chain> FormChains(const std::vector<Node>& nodes, bool training);

}  // namespace insightface
