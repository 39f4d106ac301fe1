// The description of a network that Python sends: one line per node, in execution order.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "network/arithmetic/value.h"

namespace insightface {

struct Node {
  std::string op;
  std::vector<int> inputs;  // numbers of earlier nodes
  ValueShape shape;
  std::map<std::string, double> attributes;

  bool Has(const std::string& name) const { return attributes.count(name) > 0; }
  double Real(const std::string& name) const { return attributes.at(name); }
  int64_t Integer(const std::string& name) const { return static_cast<int64_t>(attributes.at(name)); }
  // The number of an array among its kind (parameters, or moving statistics); -1 if the node has none of that name.
  int Array(const std::string& name) const {
    const auto found = attributes.find(name);
    return found == attributes.end() ? -1 : static_cast<int>(found->second);
  }
};

// Parses lines "op inputs channels height width [name=number ...]", inputs separated by commas, "-" for none.
// Throws std::invalid_argument if a line has another form.
std::vector<Node> ParseDescription(const std::string& text);

}  // namespace insightface
