#include "network/plan/description.h"

#include <sstream>
#include <stdexcept>

namespace insightface {
namespace {

std::vector<int> ParseInputs(const std::string& text, size_t node_count) {
  std::vector<int> inputs;
  if (text == "-") { return inputs; }
  std::istringstream stream(text);
  std::string number;
  while (std::getline(stream, number, ',')) {
    inputs.push_back(std::stoi(number));
    if (inputs.back() < 0 || static_cast<size_t>(inputs.back()) >= node_count) {
      throw std::invalid_argument("a node reads the value of node " + number + ", which does not come before it");
    }
  }
  return inputs;
}

}  // namespace

std::vector<Node> ParseDescription(const std::string& text) {
  std::vector<Node> nodes;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    Node node;
    std::string inputs;
    if (!(words >> node.op >> inputs >> node.shape.channels >> node.shape.height >> node.shape.width)) {
      throw std::invalid_argument("not a node: " + line);
    }
    node.inputs = ParseInputs(inputs, nodes.size());
    std::string attribute;
    while (words >> attribute) {
      const size_t equals = attribute.find('=');
      if (equals == std::string::npos) { throw std::invalid_argument("not name=number: " + attribute); }
      node.attributes[attribute.substr(0, equals)] = std::stod(attribute.substr(equals + 1));
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace insightface
