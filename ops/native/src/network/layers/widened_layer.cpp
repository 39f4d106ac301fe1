// computes          the inner layer, some images at a time, on float32 copies of its bfloat16 inputs; rounds y
// reads in backward what the inner layer reads, and dy, as float32 copies
// writes            the parameter gradients of the inner layer, the sums over those images
// writes or adds    dx rounded to bfloat16; the inner layer adds to a float32 copy of it
#include "network/layers/widened_layer.h"

#include <algorithm>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "base/alignment.h"
#include "base/prepared.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

// The float32 copies of the inputs, their gradients and the output of a piece take no more, if those of one image do.
constexpr int64_t kPieceBytes = 16 << 20;

int64_t FloatBytes(int64_t count) { return AlignedSize(count * static_cast<int64_t>(sizeof(float))); }

class WidenedLayer final : public Layer {
 public:
  WidenedLayer(std::unique_ptr<Layer> inner, const std::vector<int>& layer_inputs, int layer_output,
               const std::vector<Value>& in, const Value& out, int64_t batch, int64_t piece,
               const std::map<int, int64_t>& counts)
      : Layer(layer_inputs, layer_output),
        inner_(std::move(inner)),
        pieces_(batch / piece),
        piece_(piece),
        output_count_(piece * out.shape.Count()),
        counts_(counts),
        rounds_output_(out.type == NumberType::kBFloat16) {
    for (const Value& value : in) { input_counts_.push_back(piece * value.shape.Count()); }
  }

  void Forward(const ExecutionContext& context) override {
    for (int64_t piece = 0; piece < pieces_; ++piece) {
      Frame frame(context, inputs.size(), piece_);
      for (size_t i = 0; i < inputs.size(); ++i) {
        frame.values[i] = Widen(&frame, InputOf(context, i, piece), input_counts_[i]);
      }
      if (!rounds_output_) {
        frame.values.back() = context.ValueAt<float>(output) + piece * output_count_;
        inner_->Forward(frame.InnerContext());
        continue;
      }
      float* const wide = frame.Take(output_count_);
      frame.values.back() = wide;
      inner_->Forward(frame.InnerContext());
      Convert(wide, context.ValueAt<BFloat16>(output) + piece * output_count_, output_count_);
    }
  }

  void Backward(const ExecutionContext& context) override {
    if (IsSplit()) {
      GradientsOfParameters(context);
      if (uses[0].wanted) { GradientOfInput(context); }
      return;
    }
    InPieces(context, true, true, [this](const ExecutionContext& inner) { inner_->Backward(inner); });
  }
  bool IsSplit() const override { return inner_->IsSplit(); }
  void GradientsOfParameters(const ExecutionContext& context) override {
    InPieces(context, true, false, [this](const ExecutionContext& inner) { inner_->GradientsOfParameters(inner); });
  }
  void GradientOfInput(const ExecutionContext& context) override {
    InPieces(context, false, true, [this](const ExecutionContext& inner) { inner_->GradientOfInput(inner); });
  }

  std::vector<int> ReadInBackward() const override {
    std::vector<int> read;
    for (const int i : inner_->ReadInBackward()) { read.push_back(inputs[i]); }
    return read;
  }
  bool HasParameters() const override { return inner_->HasParameters(); }
  int64_t PieceOfGradient(int parameter) const override { return inner_->PieceOfGradient(parameter); }
  int64_t CopyBytes() const override { return inner_->CopyBytes(); }

  int64_t ScratchBytes() override {
    CopyUses();
    const int64_t result = rounds_output_ ? FloatBytes(output_count_) : 0;
    int64_t read = 0, sums = 0, wanted = 0, all = 0;
    for (const int64_t count : input_counts_) { all += FloatBytes(count); }
    for (const int i : inner_->ReadInBackward()) { read += FloatBytes(input_counts_[i]); }
    for (const auto& [number, count] : counts_) { sums += pieces_ > 1 ? FloatBytes(count) : 0; }
    for (size_t i = 0; i < inputs.size(); ++i) { wanted += uses[i].wanted ? FloatBytes(input_counts_[i]) : 0; }
    const int64_t backward = IsSplit() ? std::max(read + sums, wanted) : read + sums + wanted;
    return result + std::max(all, backward) + inner_->ScratchBytes();
  }

 private:
  // The values and gradients of the inner layer while it runs on a piece of the batch.
  struct Frame {
    Frame(const ExecutionContext& context, size_t inputs, int64_t piece)
        : values(inputs + 1, nullptr),
          gradients(inputs + 1, nullptr),
          outer(context),
          batch(piece),
          free(context.scratch) {}

    float* Take(int64_t count) {
      float* const taken = reinterpret_cast<float*>(free);
      free += FloatBytes(count);
      return taken;
    }

    ExecutionContext InnerContext() const {
      ExecutionContext context = outer;
      context.batch = batch;
      context.values = &values;
      context.gradients = &gradients;
      context.scratch = free;
      if (!parameter_gradients.empty()) { context.parameter_gradients = parameter_gradients.data(); }
      return context;
    }

    std::vector<void*> values, gradients;
    std::vector<float*> parameter_gradients;  // empty: the caller's
    const ExecutionContext& outer;
    const int64_t batch;
    char* free;
  };

  // Runs `backward`, which writes gradients of parameters, of inputs, or both, on one piece after the other.
  template<typename Run>
  void InPieces(const ExecutionContext& context, bool of_parameters, bool of_inputs, const Run& backward) {
    CopyUses();
    for (int64_t piece = 0; piece < pieces_; ++piece) {
      Frame frame(context, inputs.size(), piece_);
      frame.gradients.back() = OutputGradient(&frame, context, piece);
      if (of_parameters) {
        for (const int i : inner_->ReadInBackward()) {
          frame.values[i] = Widen(&frame, InputOf(context, i, piece), input_counts_[i]);
        }
        if (piece > 0) { TakeGradients(&frame); }
      }
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (!of_inputs || !uses[i].wanted) { continue; }
        frame.gradients[i] = uses[i].adds ? Widen(&frame, GradientOf(context, i, piece), input_counts_[i])
                                          : frame.Take(input_counts_[i]);
      }
      backward(frame.InnerContext());
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (!of_inputs || !uses[i].wanted) { continue; }
        Convert(static_cast<float*>(frame.gradients[i]), GradientOf(context, i, piece), input_counts_[i]);
      }
      if (of_parameters && piece > 0) { AddGradients(frame); }
    }
  }

  static float* Widen(Frame* frame, const BFloat16* from, int64_t count) {
    float* const wide = frame->Take(count);
    Convert(from, wide, count);
    return wide;
  }

  // Piece number `piece` of an input, and of its gradient.
  const BFloat16* InputOf(const ExecutionContext& context, size_t input, int64_t piece) const {
    return context.ValueAt<const BFloat16>(inputs[input]) + piece * input_counts_[input];
  }
  BFloat16* GradientOf(const ExecutionContext& context, size_t input, int64_t piece) const {
    return context.GradientAt<BFloat16>(inputs[input]) + piece * input_counts_[input];
  }

  float* OutputGradient(Frame* frame, const ExecutionContext& context, int64_t piece) const {
    if (!rounds_output_) { return context.GradientAt<float>(output) + piece * output_count_; }
    return Widen(frame, context.GradientAt<const BFloat16>(output) + piece * output_count_, output_count_);
  }

  // The first piece writes the parameters' gradients; the others write theirs to scratch memory, to be added.
  void TakeGradients(Frame* frame) const {
    for (const auto& [number, count] : counts_) {
      frame->parameter_gradients.resize(std::max<size_t>(frame->parameter_gradients.size(), number + 1), nullptr);
      frame->parameter_gradients[number] = frame->Take(count);
    }
  }
  void AddGradients(const Frame& frame) const {
    for (const auto& [number, count] : counts_) {
      AddInto(frame.outer.parameter_gradients[number], frame.parameter_gradients[number], count);
    }
  }

  void CopyUses() const {
    for (size_t i = 0; i < uses.size(); ++i) { inner_->uses[i] = {uses[i].wanted, uses[i].adds, false}; }
  }

  const std::unique_ptr<Layer> inner_;
  const int64_t pieces_, piece_;  // of the batch, and the images in each
  std::vector<int64_t> input_counts_;
  const int64_t output_count_;
  const std::map<int, int64_t> counts_;
  const bool rounds_output_;
};

}  // namespace

bool MultipliesBFloat16() {
  // The number of an instruction set includes the bits of those that it extends.
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

int64_t ImagesAtATime(const std::vector<Value>& in, const Value& out, int64_t batch) {
  int64_t image = FloatBytes(out.shape.Count());
  for (const Value& value : in) { image += 2 * FloatBytes(value.shape.Count()); }
  int64_t piece = std::clamp<int64_t>(kPieceBytes / image, 1, batch);
  while (batch % piece != 0) { --piece; }
  return piece;
}

std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch, int64_t piece,
                                  const std::map<int, int64_t>& counts) {
  return std::make_unique<WidenedLayer>(std::move(inner), inputs, output, in, out, batch, piece, counts);
}

}  // namespace insightface
