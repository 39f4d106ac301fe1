#include "network/plan/lowering.h"

#include <algorithm>

namespace insightface {
namespace {

bool Extends(const std::string& op, const std::string& next, bool training) {
  if (op == "conv") { return !training && (next == "batch_norm" || next == "prelu" || next == "add"); }
  return op == "batch_norm" && (next == "prelu" || next == "add");
}

}  // namespace

std::vector<Chain> FormChains(const std::vector<Node>& nodes, bool training) {
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
      if (previous[i] < 0 && only_here && Extends(nodes[*input].op, nodes[i].op, training)) {
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
