// computes          w = PReLU(x [rows, channels] weight^T + bias), y = PReLU(depthwise 3x3 convolution of w + bias),
//                   batch normalisation folded into weights and biases: for some lines of an image, 8 to 64 channels of
//                   w after the others, whose lines are still in the first cache when they are convolved
// reads in backward nothing: there is no backward pass
#include "network/layers/expanded_depthwise.h"

#include <algorithm>

#include "base/alignment.h"
#include "network/arithmetic/depthwise_lines.h"
#include "network/arithmetic/depthwise_planes.h"
#include "network/layers/depthwise_inference.h"
#include "network/layers/depthwise_unit.h"
#include "network/layers/folding.h"
#include "network/layers/of_type.h"
#include "network/layers/pointwise_weights.h"

namespace insightface {
namespace {

// Lines of w that `lines` lines of y read.
int64_t LinesRead(int64_t lines, int64_t stride) { return (lines - 1) * stride + 3; }

// Rows of a plane of that many lines of w.
int64_t PlaneRows(int64_t lines, int64_t width) { return lines * width + kRowsBehindPlane; }

// The lines of y that a thread computes at a time, a divisor of their number: few enough for the caches, and for all
// threads to have work, but so many that little of w, which the lines above and below read too, is computed twice; 0 if
// there is no such number.
int64_t ChooseBlock(int64_t batch, const ValueShape& in, const ValueShape& out, int64_t stride) {
  constexpr int64_t kLeastRead = 7, kMostRows = 1536, kBlocksPerThread = 4;
  const int64_t threads = omp_get_max_threads();
  int64_t chosen = 0;
  for (int64_t lines = out.height; lines > 0; --lines) {
    if (out.height % lines != 0 || PlaneRows(LinesRead(lines, stride), in.width) > kMostRows) { continue; }
    if (lines < out.height && lines * stride < kLeastRead) { break; }
    if (batch * (out.height / lines) >= threads) { chosen = lines; }
    if (batch * (out.height / lines) >= kBlocksPerThread * threads) { break; }
  }
  return chosen;
}

template<typename T>
class ExpandedDepthwise final : public Layer {
 public:
  ExpandedDepthwise(int input, int output, const Value& in, const Value& out, int64_t batch, int64_t stride,
                    const FoldedConv& expand, const FoldedConv& depthwise)
      : Layer({input}, output),
        batch_(batch),
        in_(in.shape),
        out_(out.shape),
        stride_(stride),
        lines_(ChooseBlock(batch, in_, out_, stride)),
        plane_rows_(PlaneRows(LinesRead(lines_, stride), in_.width)),
        expand_slope_(expand.epilogue.slope),
        slope_(depthwise.epilogue.slope),
        expand_weights_(expand.arrays, expand.epilogue, out_.channels, in_.channels,
                        PackedBytes(in_.channels, out_.channels), PackedFilters<T>(in_.channels, out_.channels)),
        weights_(depthwise.arrays, depthwise.epilogue, out_.channels, kDepthwiseTaps,
                 kDepthwiseTaps * out_.channels * static_cast<int64_t>(sizeof(float)), FiltersByTap(out_.channels)) {}

  std::vector<RowStage> ForwardStages() override {
    RowStage stage{batch_ * out_.Pixels(), stride_ * stride_ * in_.channels + out_.channels, lines_ * out_.width};
    stage.gathers = true;
    stage.scratch_bytes = omp_get_max_threads() * ThreadBytes();
    stage.begin = [this](const ExecutionContext& context, char* scratch) {
      expand_weights_.Prepare(context);
      weights_.Prepare(context);
      scratch_ = scratch;
    };
    stage.work = [this](const ExecutionContext& context, int64_t first, int64_t, const Part& part) {
      for (int64_t column = 0; column < out_.channels; column += products_.plane_columns) {
        ComputeColumns(context, first / out_.width, column, part.thread);
      }
    };
    return {stage};
  }

  int64_t CopyBytes() const override { return expand_weights_.Bytes() + weights_.Bytes(); }

 private:
  int64_t ThreadBytes() const {
    return AlignedSize(plane_rows_ * products_.plane_columns * static_cast<int64_t>(sizeof(float)));
  }

  static const float* From(const ExecutionContext& context, int array, int64_t column) {
    return array >= 0 ? context.parameters[array] + column : nullptr;
  }

  // The block of lines that begins with line `number` of the batch, of the channels from `column` on.
  void ComputeColumns(const ExecutionContext& context, int64_t number, int64_t column, int thread) {
    constexpr int64_t kRowsAtATime = 128;
    const DepthwisePlanes<T>& loops = kDepthwisePlanes.Of<T>();
    const int64_t image = number / out_.height, row = number % out_.height;
    const int64_t first = std::max<int64_t>(row * stride_ - 1, 0);
    const auto end_for = [&](int64_t output_row) { return std::min(output_row * stride_ + 2, in_.height); };
    const int64_t pixels = (end_for(row + lines_ - 1) - first) * in_.width;
    const T* const x = context.ValueAt<const T>(inputs[0]) + (image * in_.height + first) * in_.width * in_.channels;
    T* const y = context.ValueAt<T>(output) + image * out_.Pixels() * out_.channels + column;
    float* const planes = reinterpret_cast<float*>(scratch_ + thread * ThreadBytes());
    const int64_t step = plane_rows_ * loops.lanes;
    PlaneSums sums{expand_weights_.bias() + column, From(context, expand_slope_, column), planes, step};
    int64_t done = 0;
    for (int64_t line = row; line < row + lines_; ++line) {
      const int64_t missing = (end_for(line) - first) * in_.width - done;
      if (missing > 0) {
        const int64_t whole = (missing + kRowsAtATime - 1) / kRowsAtATime * kRowsAtATime;
        const int64_t count = std::min(whole, pixels - done);
        sums.planes = planes + done * loops.lanes;
        products_.MultiplyToPlanes(x + done * in_.channels, count, in_.channels, expand_weights_.weight(), column,
                                   sums);
        done += count;
      }
      for (int64_t c = 0; c < products_.plane_columns; c += loops.lanes) {
        const float* const weight = reinterpret_cast<const float*>(weights_.weight()) + column + c;
        loops.Convolve({planes + c / loops.lanes * step, first, in_.height, in_.width}, line, stride_,
                       {weight, weights_.bias() + column + c, From(context, slope_, column + c)}, out_.width,
                       out_.channels, y + line * out_.width * out_.channels + c);
      }
    }
  }

  const int64_t batch_;
  const ValueShape in_, out_;
  const int64_t stride_;
  const int64_t lines_;  // of y, a block
  const int64_t plane_rows_;
  const int expand_slope_, slope_;
  const PointwiseProducts<T>& products_ = PointwiseProductsOf<T>();
  FoldedWeights expand_weights_, weights_;
  char* scratch_ = nullptr;  // of the current execution
};

}  // namespace

bool FitsExpandedDepthwise(const ConvGeometry& expand, const ConvGeometry& depthwise, const Value& in, const Value& wide,
                           const Value& out, int64_t batch) {
  constexpr int kHalfLanes = 16;  // of the products of bfloat16
  const int64_t channels = in.shape.channels, filters = wide.shape.channels;
  const bool fits = IsPointwise(expand) && HasProducts(in.type, channels, filters) && filters % kPanelColumns == 0 &&
                    channels * filters <= kMostCachedWeights &&
                    FitsDepthwiseUnit(depthwise, filters, out.shape.channels, false);
  const bool has_planes = in.type == NumberType::kFloat32 || kDepthwisePlanes.Of<BFloat16>().lanes == kHalfLanes;
  return fits && has_planes && ChooseBlock(batch, in.shape, out.shape, depthwise.stride) > 0;
}

std::unique_ptr<Layer> MakeExpandedDepthwise(int input, int output, const Value& in, const Value& out, int64_t batch,
                                             int64_t stride, const FoldedConv& expand, const FoldedConv& depthwise) {
  return MakeOfType<ExpandedDepthwise>(in.type, input, output, in, out, batch, stride, expand, depthwise);
}

}  // namespace insightface
