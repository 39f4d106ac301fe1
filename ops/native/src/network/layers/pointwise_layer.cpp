// computes          y [rows, filters] = x [rows, channels] weight^T, block by block of rows
// reads in backward x, dy
// writes            dweight = dy^T x: the blocks of each part are summed, and the sums are added at the end
// writes or adds    dx = dy weight
#include "network/layers/pointwise_layer.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/pointwise_products.h"
#include "network/layers/accumulate.h"
#include "network/layers/folding.h"
#include "network/layers/of_type.h"
#include "network/layers/pointwise_weights.h"

namespace insightface {
namespace {

// In training.
template<typename T>
class PointwiseConv final : public Layer {
 public:
  PointwiseConv(int input, int output, int64_t rows, int64_t channels, int64_t filters, int weight)
      : Layer({input}, output),
        rows_(rows),
        channels_(channels),
        filters_(filters),
        weight_(weight),
        threads_(omp_get_max_threads()),
        parts_(std::min<int64_t>(rows, MostParts())) {}

  std::vector<RowStage> ForwardStages() override {
    RowStage stage{rows_, channels_ + filters_};
    stage.scratch_bytes = AlignedSize(PackedBytes(channels_, filters_));
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      forward_weights_ = scratch;
      PackWeights<T>({context.parameters[weight_], channels_, filters_, 1, channels_}, forward_weights_);
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part&) {
      products_.Multiply(context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, channels_,
                         forward_weights_, filters_, {}, context.ValueAt<T>(output) + first * filters_, context.upcoming);
    };
    return {stage};
  }

  std::vector<RowStage> BackwardStages() override {
    RowStage stage{rows_, 2 * channels_ + filters_};
    stage.scratch_bytes =
        AlignedSize(PackedBytes(filters_, channels_)) + parts_ * SumsBytes() + threads_ * OuterBytes();
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      backward_memory_ = scratch;
      started_.assign(parts_, false);
      if (uses[0].wanted) {
        PackWeights<T>({context.parameters[weight_], filters_, channels_, channels_, 1}, backward_memory_);
      }
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
      WorkBackward(context, first, last, part);
    };
    stage.end = [this](const ExecutionContext& context) { ReduceSums(context.parameter_gradients[weight_]); };
    stage.reads = [this] {
      const int64_t row_bytes = channels_ * static_cast<int64_t>(sizeof(T));
      std::vector<RowMap> maps{{inputs[0], false, row_bytes}};
      if (uses[0].adds) { maps.push_back({inputs[0], true, row_bytes}); }
      return maps;
    };
    return {stage};
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

 private:
  // The memory: weights, sums of the weights' gradient of each part, scratch memory of each thread's products.
  int64_t SumsBytes() const { return AlignedSize(filters_ * channels_ * static_cast<int64_t>(sizeof(float))); }
  int64_t OuterBytes() const { return AlignedSize(OuterScratchBytes<T>(filters_, channels_)); }
  float* SumsOf(int64_t part) const {
    char* const sums = backward_memory_ + AlignedSize(PackedBytes(filters_, channels_));
    return reinterpret_cast<float*>(sums + part * SumsBytes());
  }
  char* OuterMemoryOf(int64_t thread) const {
    return reinterpret_cast<char*>(SumsOf(parts_)) + thread * OuterBytes();
  }

  void WorkBackward(const ExecutionContext& context, int64_t first, int64_t last, const Part& part) {
    float* const sums = SumsOf(part.number);
    if (!started_[part.number]) { std::fill_n(sums, filters_ * channels_, 0.0f); }
    started_[part.number] = true;
    const T* const dy = context.GradientAt<const T>(output) + first * filters_;
    if (uses[0].wanted) {
      products_.Multiply(dy, last - first, filters_, backward_memory_, channels_, {uses[0].adds},
                         context.GradientAt<T>(inputs[0]) + first * channels_, context.upcoming);
    }
    products_.AddOuter(dy, context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, filters_, channels_,
                       sums, OuterMemoryOf(part.thread), context.upcoming);
  }

  void ReduceSums(float* gradient) const {
    ParallelRows(filters_ * channels_, [&](int64_t begin, int64_t end, int) {
      std::fill(gradient + begin, gradient + end, 0.0f);
      for (int64_t part = 0; part < parts_; ++part) {
        if (started_[part]) { AddRange(gradient + begin, SumsOf(part) + begin, end - begin); }
      }
    });
  }

  const int64_t rows_, channels_, filters_;
  const int weight_;
  const int64_t threads_, parts_;
  const PointwiseProducts<T>& products_ = PointwiseProductsOf<T>();
  // Of the current execution.
  char* forward_weights_ = nullptr;
  char* backward_memory_ = nullptr;
  std::vector<char> started_;  // which parts have had a block
};

// The same in inference, with the layers folded into it.
template<typename T>
class PointwiseInference final : public Layer {
 public:
  PointwiseInference(const std::vector<int>& inputs, int output, int64_t rows, int64_t channels, int64_t filters,
                     const ConvArrays& arrays, const ConvEpilogue& epilogue)
      : Layer(inputs, output),
        rows_(rows),
        channels_(channels),
        filters_(filters),
        slope_(epilogue.slope),
        weights_(arrays, epilogue, filters, channels, PackedBytes(channels, filters),
                 PackedFilters<T>(channels, filters)) {}

  std::vector<RowStage> ForwardStages() override {
    RowStage stage{rows_, channels_ + static_cast<int64_t>(inputs.size()) * filters_};
    stage.begin = [this](const ExecutionContext& context, char*) { weights_.Prepare(context); };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t last, const Part&) {
      ProductEpilogue<T> epilogue{false, weights_.bias()};
      if (slope_ >= 0) { epilogue.slope = context.parameters[slope_]; }
      if (inputs.size() > 1) { epilogue.addend = context.ValueAt<const T>(inputs[1]) + first * filters_; }
      PointwiseProductsOf<T>().Multiply(context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, channels_,
                                        weights_.weight(), filters_, epilogue,
                                        context.ValueAt<T>(output) + first * filters_, context.upcoming);
    };
    stage.reads = [this] {
      const int64_t number = static_cast<int64_t>(sizeof(T));
      std::vector<RowMap> maps{{inputs[0], false, channels_ * number}};
      if (inputs.size() > 1) { maps.push_back({inputs[1], false, filters_ * number}); }
      return maps;
    };
    return {stage};
  }

  int64_t CopyBytes() const override { return weights_.Bytes(); }

 private:
  const int64_t rows_, channels_, filters_;
  const int slope_;
  FoldedWeights weights_;
};

// Whether the convolution is a product of rows that there are kernels for.
bool IsProduct(const Value& in, const Value& out, const ConvGeometry& geometry) {
  return IsPointwise(geometry) && HasProducts(in.type, in.shape.channels, out.shape.channels);
}

}  // namespace

std::unique_ptr<Layer> MakePointwiseTraining(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             const ConvGeometry& geometry, const ConvArrays& arrays) {
  // The sums of a part, of all the weights' gradients, stay in the second level cache.
  constexpr int64_t kMostWeights = 64 * 1024;
  const int64_t channels = in.shape.channels, filters = out.shape.channels;
  if (!IsProduct(in, out, geometry) || arrays.bias >= 0 || channels * filters > kMostWeights) { return nullptr; }
  return MakeOfType<PointwiseConv>(in.type, input, output, batch * in.shape.Pixels(), channels, filters, arrays.weight);
}

std::unique_ptr<Layer> MakePointwiseInference(const std::vector<int>& inputs, int output, const Value& in,
                                              const Value& out, int64_t batch, const ConvGeometry& geometry,
                                              const ConvArrays& arrays, const ConvEpilogue& epilogue) {
  const int64_t channels = in.shape.channels, filters = out.shape.channels;
  if (!IsProduct(in, out, geometry) || channels * filters > kMostCachedWeights) { return nullptr; }
  return MakeOfType<PointwiseInference>(in.type, inputs, output, batch * in.shape.Pixels(), channels, filters, arrays,
                                        epilogue);
}

}  // namespace insightface
