#include "network/plan/assembly.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "network/layers/activation_layer.h"
#include "network/layers/add_layer.h"
#include "network/layers/batch_norm_layer.h"
#include "network/layers/conv_layer.h"
#include "network/layers/dense_layer.h"
#include "network/layers/depthwise_unit.h"
#include "network/layers/dropout_layer.h"
#include "network/layers/expanded_depthwise.h"
#include "network/layers/image_layer.h"
#include "network/layers/prelu_layer.h"
#include "network/layers/widened_layer.h"
#include "network/plan/lowering.h"

namespace insightface {
namespace {

class Assembler {
 public:
  Assembler(const std::string& description, int64_t batch, NumberType type, bool training)
      : nodes_(ParseDescription(description)),
        value_of_(nodes_.size(), -1),
        batch_(batch),
        type_(type),
        training_(training) {}

  Assembly Build() {
    const NumberType factors = MultipliesIn(type_) ? type_ : NumberType::kFloat32;
    for (const Chain& chain : FormChains(nodes_, training_, factors, batch_)) { AddChain(chain); }
    if (nodes_.empty()) { throw std::invalid_argument("a network without nodes"); }
    const int last = ValueOf(static_cast<int>(nodes_.size()) - 1);
    const ValueShape& shape = result_.values[last].shape;
    if (shape.Pixels() != 1) { throw std::invalid_argument("the last value of the network is not an embedding"); }
    result_.embedding_size = shape.channels;
    result_.layers.push_back(MakeEmbeddingLayer(last, result_.values[last], batch_));
    if (training_) { JoinBackward(); }
    return std::move(result_);
  }

 private:
  // Offers each layer a part of the backward pass of the layer that alone reads its output.
  void JoinBackward() const {
    std::vector<std::vector<Layer*>> readers(result_.values.size());
    for (const auto& layer : result_.layers) {
      for (const int input : layer->inputs) { readers[input].push_back(layer.get()); }
    }
    for (const auto& layer : result_.layers) {
      if (layer->output >= 0 && readers[layer->output].size() == 1) { layer->TakeOver(*readers[layer->output].front()); }
    }
  }

  // The value of a node; a flattened value is its input's.
  int ValueOf(int node) const {
    while (nodes_[node].op == "flatten") { node = nodes_[node].inputs[0]; }
    return value_of_[node];
  }

  const Value& InputOf(const Node& node) const { return result_.values[ValueOf(node.inputs[0])]; }

  int AddValue(int node, NumberType type) {
    result_.values.push_back({nodes_[node].shape, type});
    value_of_[node] = static_cast<int>(result_.values.size()) - 1;
    return value_of_[node];
  }

  void AddChain(const Chain& chain) {
    const Node& head = nodes_[chain.nodes.front()];
    const int tail = chain.nodes.back();
    if (head.op == "input" || head.op == "scale_shift") {
      AddImages(head, tail);
      return;
    }
    RequireMap(head);
    const Value in = InputOf(head);
    const int output = AddValue(tail, head.op == "fully_connected" ? NumberType::kFloat32 : in.type);
    std::vector<int> inputs;
    for (const int input : head.inputs) { inputs.push_back(ValueOf(input)); }
    if (chain.addend >= 0) { inputs.push_back(ValueOf(chain.addend)); }
    result_.layers.push_back(MakeLayer(chain, head, inputs, output, in));
    for (const int number : chain.nodes) { AddParameters(nodes_[number]); }
  }

  // Gives the last layer the parameters of a node.
  void AddParameters(const Node& node) {
    std::vector<int64_t>& counts = result_.parameter_counts;
    for (const auto& [number, count] : ParameterCounts(node)) {
      counts.resize(std::max(counts.size(), static_cast<size_t>(number) + 1));
      counts[number] = count;
      result_.layers.back()->parameters.push_back(number);
    }
  }

  // The parameters of a node, and the numbers in each.
  std::map<int, int64_t> ParameterCounts(const Node& node) const {
    const ValueShape& in = nodes_[node.inputs[0]].shape;
    int64_t weights = node.shape.channels * in.Count();  // of a fully connected layer
    if (node.op == "conv") {
      weights = node.shape.channels * (in.channels / node.Integer("groups")) * node.Integer("kernel") *
                node.Integer("kernel");
    }
    std::map<int, int64_t> counts;
    for (const char* const name : {"weight", "bias", "gamma", "beta", "slope"}) {
      const int number = node.Array(name);
      if (number >= 0) { counts[number] = name == std::string("weight") ? weights : node.shape.channels; }
    }
    return counts;
  }

  // The scaled images replace the images themselves.
  void AddImages(const Node& node, int number) {
    const bool scaled = node.op == "scale_shift";
    if (scaled && nodes_[node.inputs[0]].op != "input") {
      throw std::invalid_argument("scale_shift within the network");
    }
    if (!scaled && OnlyScaled(number)) { return; }
    const int output = AddValue(number, type_);
    const float mean = scaled ? static_cast<float>(node.Real("mean")) : 0.0f;
    const float scale = scaled ? static_cast<float>(node.Real("scale")) : 1.0f;
    result_.layers.push_back(MakeImageLayer(output, result_.values[output], batch_, mean, scale));
  }

  bool OnlyScaled(int number) const {
    return std::all_of(nodes_.begin(), nodes_.end(), [&](const Node& node) {
      return node.op == "scale_shift" || std::find(node.inputs.begin(), node.inputs.end(), number) == node.inputs.end();
    });
  }

  // Only a fully connected layer knows the order of numbers in a flattened map of several pixels.
  void RequireMap(const Node& node) const {
    for (const int input : node.inputs) {
      const bool flat = nodes_[input].op == "flatten";
      if (flat && node.op != "fully_connected" && result_.values[ValueOf(input)].shape.Pixels() > 1) {
        throw std::invalid_argument(node.op + " of a flattened map");
      }
    }
  }

  std::unique_ptr<Layer> MakeLayer(const Chain& chain, const Node& head, const std::vector<int>& inputs, int output,
                                   const Value& in) const {
    const Value out = result_.values[output];
    if (head.op == "conv" || head.op == "fully_connected") {
      return MakeProducts(chain, head, inputs, output, in, out);
    }
    const Node& tail = nodes_[chain.nodes.back()];
    if (head.op == "batch_norm" && tail.op == "conv") {
      return MakeDepthwiseUnit(inputs[0], output, in, out, batch_, tail.Integer("stride"), tail.Array("weight"),
                               NormArrays(chain, 0), Epsilon(head), static_cast<float>(head.Real("momentum")),
                               Statistics(head));
    }
    if (head.op == "batch_norm") {
      return MakeBatchNormLayer(inputs, output, in, batch_, NormArrays(chain, 0), Epsilon(head),
                                static_cast<float>(head.Real("momentum")), Statistics(head));
    }
    if (head.op == "add") { return MakeAddLayer(inputs, output, in, batch_); }
    if (head.op == "prelu") { return MakePreluLayer(inputs[0], output, in, batch_, head.Array("slope")); }
    if (head.op == "dropout" || head.op == "drop_path") {
      // Outside training it copies its input.
      return MakeDropoutLayer(inputs[0], output, in, batch_, head.Integer("first"), static_cast<float>(head.Real("p")),
                              head.op == "drop_path", training_);
    }
    std::unique_ptr<Layer> activation = MakeActivationLayer(head.op, inputs[0], output, in, batch_);
    if (activation == nullptr) { throw std::invalid_argument("there is no layer for " + head.op); }
    return activation;
  }

  static bool MultipliesIn(NumberType type) { return type == NumberType::kFloat32 || MultipliesBFloat16(); }

  std::unique_ptr<Layer> MakeProducts(const Chain& chain, const Node& head, const std::vector<int>& inputs, int output,
                                      const Value& in, const Value& out) const {
    if (MultipliesIn(in.type)) { return MakeMultiplying(chain, head, inputs, output, in, out, batch_); }
    std::vector<int> numbers(inputs.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    std::vector<Value> maps;
    for (const int input : inputs) { maps.push_back(result_.values[input]); }
    // A fully connected layer may use up its gradient as it computes it, and an expanded map was found to suit the
    // whole batch.
    const bool whole = head.op == "fully_connected" || (!training_ && PlaceOfExpanded(nodes_, chain) > 0);
    const int64_t piece = whole ? batch_ : ImagesAtATime(maps, out, batch_);
    std::unique_ptr<Layer> wide =
        MakeMultiplying(chain, head, numbers, static_cast<int>(numbers.size()), {in.shape, NumberType::kFloat32},
                        {out.shape, NumberType::kFloat32}, piece);
    return WidenLayer(std::move(wide), inputs, output, maps, out, batch_, piece,
                      whole ? std::map<int, int64_t>{} : ParameterCounts(head));
  }

  std::unique_ptr<Layer> MakeMultiplying(const Chain& chain, const Node& head, const std::vector<int>& inputs,
                                         int output, const Value& in, const Value& out, int64_t batch) const {
    if (head.op == "fully_connected") {
      return MakeDenseLayer(inputs[0], output, in, head.shape.channels, batch, Arrays(head), training_);
    }
    if (training_) { return MakeTrainingConv(inputs[0], output, in, out, batch, GeometryOf(head), Arrays(head)); }
    const size_t count = chain.nodes.size(), expanded = PlaceOfExpanded(nodes_, chain);
    if (expanded == 0) {
      return MakeInferenceConv(inputs, output, in, out, batch, GeometryOf(head), Arrays(head),
                               Epilogue(chain, 1, count));
    }
    const Node& depthwise = nodes_[chain.nodes[expanded]];
    return MakeExpandedDepthwise(inputs[0], output, in, out, batch, depthwise.Integer("stride"),
                                 {Arrays(head), Epilogue(chain, 1, expanded)},
                                 {Arrays(depthwise), Epilogue(chain, expanded + 1, count)});
  }

  // What inference folds into a convolution: the chain's nodes from `first` to `last`.
  ConvEpilogue Epilogue(const Chain& chain, size_t first, size_t last) const {
    ConvEpilogue epilogue;
    for (size_t i = first; i < last; ++i) {
      const Node& node = nodes_[chain.nodes[i]];
      if (node.op == "batch_norm") {
        epilogue.has_batch_norm = true;
        epilogue.batch_norm = NormArrays(chain, i);
        epilogue.epsilon = Epsilon(node);
      } else if (node.op == "prelu") {
        epilogue.slope = node.Array("slope");
      }
    }
    return epilogue;
  }

  NormStatistics Statistics(const Node& node) const {
    if (!training_) { return NormStatistics::kMoving; }
    return node.Has("constant") ? NormStatistics::kConstant : NormStatistics::kBatch;
  }

  static float Epsilon(const Node& node) { return static_cast<float>(node.Real("eps")); }

  static ConvArrays Arrays(const Node& node) { return {node.Array("weight"), node.Array("bias")}; }

  // The arrays of the batch normalisation at `place` of the chain, and of the PReLU that follows it.
  BatchNormArrays NormArrays(const Chain& chain, size_t place) const {
    const Node& norm = nodes_[chain.nodes[place]];
    const bool last = place + 1 == chain.nodes.size();
    const int slope = last ? -1 : nodes_[chain.nodes[place + 1]].Array("slope");
    return {norm.Array("gamma"), norm.Array("beta"), norm.Array("moving_mean"), norm.Array("moving_var"), slope};
  }

  const std::vector<Node> nodes_;
  std::vector<int> value_of_;
  const int64_t batch_;
  const NumberType type_;
  const bool training_;
  Assembly result_;
};

}  // namespace

Assembly Assemble(const std::string& description, int64_t batch, NumberType type, bool training) {
  return Assembler(description, batch, type, training).Build();
}

}  // namespace insightface
