// computes          y [batch, units] = x weight^T + bias, float32 also for bfloat16 x
// reads in backward x, dy
// writes            dweight = dy^T x, dbias = sum of dy
// writes or adds    dx = dy weight
//
// The weights of a map are many times larger than the map. So the map is put into the order of the weights, channel
// after channel, and weights and their gradient are read and written as they lie in the network's arrays.
#include <algorithm>
#include <utility>

#include "base/alignment.h"
#include "base/onednn.h"
#include "base/parallel.h"
#include "base/prepared.h"
#include "network/layers/accumulate.h"
#include "network/layers/dense_layer.h"

namespace insightface {
namespace {

using dnnl::memory;

memory::desc Matrix(int64_t rows, int64_t columns, const memory::dims& strides) {
  return {{rows, columns}, memory::data_type::f32, strides};
}
memory::desc Matrix(int64_t rows, int64_t columns) { return Matrix(rows, columns, {columns, 1}); }
memory::desc Transposed(int64_t rows, int64_t columns) { return Matrix(rows, columns, {1, rows}); }

memory::desc Map(const ValueShape& shape, int64_t batch, memory::data_type type, memory::format_tag order) {
  return {{batch, shape.channels, shape.height, shape.width}, type, order};
}

// A product of float32 matrices by the whole team.
class Product {
 public:
  Product(const memory::desc& a, const memory::desc& b, const memory::desc& bias, const memory::desc& c)
      : a_(a),
        b_(b),
        bias_(bias),
        c_(c),
        description_(OneDnnEngine(), a, b, bias, c, CallersScratchpad()),
        primitive_(description_) {}

  void Run(const float* a, const float* b, const float* bias, float* c, char* scratch) const {
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, AsMemory(a_, a)},
        {DNNL_ARG_WEIGHTS, AsMemory(b_, b)},
        {DNNL_ARG_DST, AsMemory(c_, c)},
        {DNNL_ARG_SCRATCHPAD, AsMemory(description_.scratchpad_desc(), scratch)}};
    if (bias != nullptr) { arguments[DNNL_ARG_BIAS] = AsMemory(bias_, bias); }
    primitive_.execute(OneDnnStream(), arguments);
  }
  int64_t ScratchBytes() const { return static_cast<int64_t>(description_.scratchpad_desc().get_size()); }

 private:
  const memory::desc a_, b_, bias_, c_;
  const dnnl::matmul::primitive_desc description_;
  const dnnl::matmul primitive_;
};

class TrainingDense final : public Layer {
 public:
  TrainingDense(int input, int output, const Value& in, int64_t units, int64_t batch, const ConvArrays& arrays)
      : Layer({input}, output),
        arrays_(arrays),
        type_(in.type),
        batch_(batch),
        units_(units),
        count_(in.shape.Count()),
        to_flat_(Map(in.shape, batch, OneDnnType(in.type), memory::format_tag::nhwc),
                 Map(in.shape, batch, memory::data_type::f32, memory::format_tag::nchw)),
        from_flat_(Map(in.shape, batch, memory::data_type::f32, memory::format_tag::nchw),
                   Map(in.shape, batch, OneDnnType(in.type), memory::format_tag::nhwc)),
        forward_(Matrix(batch, count_), Transposed(count_, units), Matrix(1, units), Matrix(batch, units)),
        piece_(UnitsAtATime(units, count_)),
        weight_gradient_(Matrix(piece_, batch, {1, units}), Matrix(batch, count_), {}, Matrix(piece_, count_)),
        input_gradient_(Matrix(batch, units), Matrix(units, count_), {}, Matrix(batch, count_)) {}

  void Forward(const ExecutionContext& context) override {
    forward_.Run(Flat(context), context.parameters[arrays_.weight], context.parameters[arrays_.bias],
                 context.ValueAt<float>(output), context.scratch + FlatBytes());
  }

  void Backward(const ExecutionContext& context) override {
    if (uses[0].wanted) { InputGradient(context); }
    const float* const dy = context.GradientAt<const float>(output);
    BiasGradient(dy, context.parameter_gradients[arrays_.bias]);
    WeightGradient(context, dy);
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }
  int64_t PieceOfGradient(int parameter) const override { return parameter == arrays_.weight ? piece_ * count_ : 0; }

  int64_t ScratchBytes() override {
    return FlatBytes() + std::max({forward_.ScratchBytes(), weight_gradient_.ScratchBytes(),
                                   input_gradient_.ScratchBytes(), uses[0].adds ? FlatBytes() : int64_t{0}});
  }

 private:
  // The weights are many: a piece of their gradient fits the third cache.
  static int64_t UnitsAtATime(int64_t units, int64_t count) {
    constexpr int64_t kMost = 1024 * 1024;
    int64_t parts = 1;
    while (parts < units && (units % parts != 0 || units / parts * count > kMost)) { ++parts; }
    return units / parts;
  }

  int64_t FlatBytes() const { return AlignedSize(batch_ * count_ * static_cast<int64_t>(sizeof(float))); }

  // The input, channel after channel, as float32.
  const float* Flat(const ExecutionContext& context) const {
    to_flat_.Run(context.ValueAt<void>(inputs[0]), context.scratch);
    return reinterpret_cast<const float*>(context.scratch);
  }

  void InputGradient(const ExecutionContext& context) const {
    const float* const dy = context.GradientAt<const float>(output);
    char* const scratch = context.scratch + FlatBytes();
    float* const flat = reinterpret_cast<float*>(context.scratch);
    input_gradient_.Run(dy, context.parameters[arrays_.weight], nullptr, flat, scratch);
    if (!uses[0].adds) { return from_flat_.Run(flat, context.GradientAt<void>(inputs[0])); }
    from_flat_.Run(flat, scratch);
    if (type_ == NumberType::kFloat32) {
      AddInto(context.GradientAt<float>(inputs[0]), reinterpret_cast<const float*>(scratch), batch_ * count_);
    } else {
      AddInto(context.GradientAt<BFloat16>(inputs[0]), reinterpret_cast<const BFloat16*>(scratch), batch_ * count_);
    }
  }

  // After the input's gradient, which needs the weights as they were.
  void WeightGradient(const ExecutionContext& context, const float* dy) const {
    const float* const flat = Flat(context);
    float* const whole = context.parameter_gradients[arrays_.weight];
    const bool is_used_up = context.UsesUp(arrays_.weight);
    for (int64_t unit = 0; unit < units_; unit += piece_) {
      float* const gradient = is_used_up ? whole : whole + unit * count_;
      weight_gradient_.Run(dy + unit, flat, nullptr, gradient, context.scratch + FlatBytes());
      if (is_used_up) { (*context.use_gradient)(arrays_.weight, unit * count_, piece_ * count_, gradient); }
    }
  }

  void BiasGradient(const float* dy, float* gradient) const {
    for (int64_t unit = 0; unit < units_; ++unit) {
      double sum = 0;
      for (int64_t image = 0; image < batch_; ++image) { sum += dy[image * units_ + unit]; }
      gradient[unit] = static_cast<float>(sum);
    }
  }

  const ConvArrays arrays_;
  const NumberType type_;
  const int64_t batch_, units_, count_;
  const Reorder to_flat_, from_flat_;
  const Product forward_;
  const int64_t piece_;  // units whose weights' gradient is computed at a time
  const Product weight_gradient_, input_gradient_;
};

}  // namespace

std::unique_ptr<Layer> MakeTrainingDense(int input, int output, const Value& in, int64_t units, int64_t batch,
                                         const ConvArrays& arrays) {
  return std::make_unique<TrainingDense>(input, output, in, units, batch, arrays);
}

}  // namespace insightface
