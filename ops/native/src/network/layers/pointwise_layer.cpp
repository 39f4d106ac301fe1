// computes          y [rows, filters] = x [rows, channels] weight^T, block by block of rows
// reads in backward x, dy
// writes            dweight = dy^T x: each thread sums its own blocks, and the sums are added at the end
// writes or adds    dx = dy weight
#include "network/layers/pointwise_layer.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "base/prepared.h"
#include "base/thread_product.h"
#include "network/layers/accumulate.h"
#include "network/layers/row_group.h"

namespace insightface {
namespace {

constexpr int64_t kFloat = static_cast<int64_t>(sizeof(float));

// y [rows, filters] = x [rows, channels] times the weights, [filters, channels], transposed.
class PointwiseConv final : public Layer {
 public:
  PointwiseConv(int input, int output, int64_t rows, int64_t block, int64_t channels, int64_t filters, int weight)
      : Layer({input}, output),
        rows_(rows),
        block_(block),
        channels_(channels),
        filters_(filters),
        weight_(weight),
        threads_(omp_get_max_threads()),
        forward_(block, channels, filters, SecondFactor::kFixedTransposed, false),
        input_gradient_(block, filters, channels, SecondFactor::kFixed, false),
        added_input_gradient_(block, filters, channels, SecondFactor::kFixed, true),
        weight_gradient_(filters, block, channels, SecondFactor::kChanges, true, FirstFactor::kTransposed),
        to_forward_(forward_.Preparation()),
        to_input_gradient_(input_gradient_.Preparation()),
        to_added_input_gradient_(added_input_gradient_.Preparation()) {}

  std::vector<RowStage> ForwardStages() override {
    RowStage stage{rows_, channels_ + filters_, block_};
    stage.scratch_bytes = AlignedSize(to_forward_.Bytes()) + threads_ * AlignedSize(forward_.ScratchBytes());
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      scratch_ = scratch;
      to_forward_.Run(context.parameters[weight_], scratch_);
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t, int thread) {
      char* const own = scratch_ + AlignedSize(to_forward_.Bytes()) + thread * AlignedSize(forward_.ScratchBytes());
      forward_.Run(context.ValueAt<const float>(inputs[0]) + first * channels_, scratch_,
                   context.ValueAt<float>(output) + first * filters_, own);
    };
    return {stage};
  }

  std::vector<RowStage> BackwardStages() override {
    RowStage stage{rows_, 2 * channels_ + filters_, block_};
    stage.scratch_bytes = WeightBytes() + threads_ * ThreadBytes();
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      scratch_ = scratch;
      started_.assign(threads_, false);
      if (uses[0].wanted) { ToInputGradient().Run(context.parameters[weight_], scratch_); }
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t, int thread) {
      WorkBackward(context, first, thread);
    };
    stage.end = [this](const ExecutionContext& context) { ReduceSums(context.parameter_gradients[weight_]); };
    return {stage};
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

 private:
  // A thread's memory: its sums of the weights' gradient, then scratch memory of the products.
  int64_t SumsBytes() const { return AlignedSize(filters_ * channels_ * kFloat); }
  int64_t ThreadBytes() const {
    return SumsBytes() + AlignedSize(std::max({input_gradient_.ScratchBytes(), added_input_gradient_.ScratchBytes(),
                                               weight_gradient_.ScratchBytes()}));
  }
  int64_t WeightBytes() const {
    return AlignedSize(std::max(to_input_gradient_.Bytes(), to_added_input_gradient_.Bytes()));
  }
  float* SumsOf(int64_t thread) const {
    return reinterpret_cast<float*>(scratch_ + WeightBytes() + thread * ThreadBytes());
  }
  const Reorder& ToInputGradient() const { return uses[0].adds ? to_added_input_gradient_ : to_input_gradient_; }

  void WorkBackward(const ExecutionContext& context, int64_t first, int thread) {
    float* const sums = SumsOf(thread);
    char* const own = reinterpret_cast<char*>(sums) + SumsBytes();
    if (!started_[thread]) { std::fill_n(sums, filters_ * channels_, 0.0f); }
    started_[thread] = true;
    const float* const dy = context.GradientAt<const float>(output) + first * filters_;
    weight_gradient_.Run(dy, context.ValueAt<const float>(inputs[0]) + first * channels_, sums, own);
    if (!uses[0].wanted) { return; }
    const ThreadProduct& product = uses[0].adds ? added_input_gradient_ : input_gradient_;
    product.Run(dy, scratch_, context.GradientAt<float>(inputs[0]) + first * channels_, own);
  }

  void ReduceSums(float* gradient) const {
    ParallelRows(filters_ * channels_, [&](int64_t begin, int64_t end, int) {
      std::fill(gradient + begin, gradient + end, 0.0f);
      for (int64_t thread = 0; thread < threads_; ++thread) {
        if (started_[thread]) { AddRange(gradient + begin, SumsOf(thread) + begin, end - begin); }
      }
    });
  }

  const int64_t rows_, block_, channels_, filters_;
  const int weight_;
  const int64_t threads_;
  const ThreadProduct forward_, input_gradient_, added_input_gradient_, weight_gradient_;
  const Reorder to_forward_, to_input_gradient_, to_added_input_gradient_;
  // Of the current execution.
  char* scratch_ = nullptr;
  std::vector<char> started_;  // which threads have had a block
};

}  // namespace

std::unique_ptr<Layer> MakePointwiseTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry, const ConvArrays& arrays) {
  // Every thread keeps sums of all the weights' gradients in its second level cache.
  constexpr int64_t kMostWeights = 64 * 1024;
  const bool fits = geometry.kernel == 1 && geometry.stride == 1 && geometry.pad == 0 && geometry.groups == 1;
  const int64_t channels = in.shape.channels, filters = out.shape.channels;
  if (!fits || arrays.bias >= 0 || in.type != NumberType::kFloat32 || channels * filters > kMostWeights) {
    return nullptr;
  }
  const int64_t rows = batch * in.shape.Pixels();
  const int64_t block = ChooseBlock(rows, 2 * (channels + filters));
  if (block == 0) { return nullptr; }
  return std::make_unique<PointwiseConv>(input, output, rows, block, channels, filters, arrays.weight);
}

}  // namespace insightface
