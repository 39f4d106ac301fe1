#include "network/plan/lowering.h"

#include <algorithm>

#include "network/layers/depthwise_unit.h"
#include "network/layers/expanded_depthwise.h"

namespace insightface {
namespace {

bool Extends(const std::string& op, const std::string& next, bool training) {
  if (op == "conv") { return !training && (next == "batch_norm" || next == "prelu" || next == "add"); }
  return op == "batch_norm" && (next == "prelu" || next == "add");
}

// Whether node `i`, a convolution, can be one layer with the batch normalisation, and PReLU, that its input `tail`
// ends.
bool JoinsNormalisation(const std::vector<Node>& nodes, const std::vector<std::vector<int>>& consumers,
                        const std::vector<int>& previous, int i, int tail) {
  const Node& conv = nodes[i];
  if (conv.op != "conv") { return false; }
  const int norm = nodes[tail].op == "prelu" ? previous[tail] : tail;
  if (norm < 0 || nodes[norm].op != "batch_norm" || consumers[nodes[norm].inputs[0]].size() != 1) { return false; }
  return FitsDepthwiseUnit(GeometryOf(conv), nodes[tail].shape.channels, conv.shape.channels, conv.Has("bias"));
}

// The first node of the chain that `tail` ends.
int HeadOf(const std::vector<int>& previous, int tail) {
  while (previous[tail] >= 0) { tail = previous[tail]; }
  return tail;
}

// Whether the chain that `tail` ends has two convolutions; neither an addition nor a third one can follow them.
bool IsExpanded(const std::vector<Node>& nodes, const std::vector<int>& previous, int tail) {
  int convolutions = 0;
  for (int node = tail; node >= 0; node = previous[node]) { convolutions += nodes[node].op == "conv" ? 1 : 0; }
  return convolutions > 1;
}

// Whether node `i`, a depthwise convolution, can be one layer with the 1x1 convolution whose chain `tail` ends.
bool JoinsExpansion(const std::vector<Node>& nodes, const std::vector<int>& previous, int i, int tail, NumberType type,
                    int64_t batch) {
  const Node& head = nodes[HeadOf(previous, tail)];
  if (nodes[i].op != "conv" || head.op != "conv" || nodes[tail].op == "add") { return false; }
  const auto value = [&](int node) { return Value{nodes[node].shape, type}; };
  return FitsExpandedDepthwise(GeometryOf(head), GeometryOf(nodes[i]), value(head.inputs[0]), value(tail), value(i),
                               batch);
}

}  // namespace

ConvGeometry GeometryOf(const Node& conv) {
  return {conv.Integer("kernel"), conv.Integer("stride"), conv.Integer("pad"), conv.Integer("groups")};
}

size_t PlaceOfExpanded(const std::vector<Node>& nodes, const Chain& chain) {
  for (size_t i = 1; i < chain.nodes.size(); ++i) {
    if (nodes[chain.nodes[0]].op == "conv" && nodes[chain.nodes[i]].op == "conv") { return i; }
  }
  return 0;
}

std::vector<Chain> FormChains(const std::vector<Node>& nodes, bool training, NumberType type, int64_t batch) {
  const int count = static_cast<int>(nodes.size());
  std::vector<std::vector<int>> consumers(count);
  for (int i = 0; i < count; ++i) {
    for (const int input : nodes[i].inputs) { consumers[input].push_back(i); }
  }
  std::vector<int> previous(count, -1);  // the node before this one in its chain
  std::vector<bool> continued(count, false);
  for (int i = 0; i < count; ++i) {
    // An addition continues the chain of its later input: by then the other input has been computed.
    for (auto input = nodes[i].inputs.rbegin(); input != nodes[i].inputs.rend(); ++input) {
      const bool only_here = consumers[*input].size() == 1;
      if (previous[i] >= 0 || !only_here) { continue; }
      const bool is_refused = (nodes[i].op == "add" || nodes[i].op == "conv") && IsExpanded(nodes, previous, *input);
      const bool extends = Extends(nodes[*input].op, nodes[i].op, training) ||
                           (training ? JoinsNormalisation(nodes, consumers, previous, i, *input)
                                     : JoinsExpansion(nodes, previous, i, *input, type, batch));
      if (extends && !is_refused) {
        previous[i] = *input;
        continued[*input] = true;
      }
    }
  }
  std::vector<Chain> chains;
  for (int i = 0; i < count; ++i) {
    if (continued[i] || nodes[i].op == "flatten") { continue; }
    Chain chain;
    for (int node = i; node >= 0; node = previous[node]) { chain.nodes.push_back(node); }
    std::reverse(chain.nodes.begin(), chain.nodes.end());
    if (nodes[i].op == "add" && chain.nodes.size() > 1) {
      const std::vector<int>& inputs = nodes[i].inputs;
      chain.addend = inputs[0] == previous[i] ? inputs[1] : inputs[0];
    }
    chains.push_back(std::move(chain));
  }
  return chains;
}

}  // namespace insightface
