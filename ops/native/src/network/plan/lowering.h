// Groups nodes that one layer computes together.
#pragma once

#include <vector>

#include "network/layers/conv_layer.h"
#include "network/plan/description.h"

namespace insightface {

// Nodes that each read the one before; other nodes see only the value of the last one.
struct Chain {
  std::vector<int> nodes;
  int addend = -1;  // node whose value the last node, an addition, adds
};

// Returns the chains in execution order. In training a batch normalisation and the PReLU or addition that follows form
// a chain, to which a depthwise 3x3 convolution may belong; in inference a convolution with all of these does, and a 1x1
// convolution with a depthwise one and those that follow each of the two. Flatten belongs to no chain: it moves no data.
// `type` is that of the factors of products.
std::vector<Chain> FormChains(const std::vector<Node>& nodes, bool training, NumberType type, int64_t batch);

// The place in an inference's chain of the depthwise convolution that another one expands its input for; 0 if there is
// none.
size_t PlaceOfExpanded(const std::vector<Node>& nodes, const Chain& chain);

ConvGeometry GeometryOf(const Node& conv);

}  // namespace insightface
