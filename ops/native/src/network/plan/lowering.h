// Groups nodes that one layer computes together.
#pragma once

#include <vector>

#include "network/plan/description.h"

namespace insightface {

// Nodes of which each reads the one before it; the value of the last one is what the rest of the network sees.
struct Chain {
  std::vector<int> nodes;
  int addend = -1;  // node whose value the last node, an addition, adds
};

// Returns chains in the order they can run. In training a batch normalisation takes the PReLU or the addition behind
// it along; in inference a convolution takes all of them. A flattening is nobody's: it changes no number's place.
std::vector<Chain> FormChains(const std::vector<Node>& nodes, bool training);

}  // namespace insightface
