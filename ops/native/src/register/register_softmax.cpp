// Registers steps of the softmax over several ranks with OneFlow, ahead of its own kernels, which compute these shapes
// number by number: matrix minus column, matrix over column, and the largest number of each row.
#include <vector>

#include "base/call_counts.h"
#include "base/parallel.h"
#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"

namespace insightface {
namespace {

using namespace oneflow;

INSIGHTFACE_VECTORISED void Subtract(const float* row, int64_t width, float value, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { result[i] = row[i] - value; }
}

INSIGHTFACE_VECTORISED void Divide(const float* row, int64_t width, float value, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { result[i] = row[i] / value; }
}

template<Kernel kernel, void (*Combine)(const float*, int64_t, float, float*)>
class ColumnKernel final : public TeamKernel<kernel> {
  void Run(user_op::KernelComputeContext* context) const override {
    const user_op::Tensor* const matrix = context->Tensor4ArgNameAndIndex("x", 0);
    const float* const source = matrix->dptr<float>();
    const float* const column = context->Tensor4ArgNameAndIndex("y", 0)->dptr<float>();
    float* const result = context->Tensor4ArgNameAndIndex("z", 0)->mut_dptr<float>();
    const int64_t width = matrix->shape_view().At(1);
    ParallelRows(matrix->shape_view().At(0), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) { Combine(source + i * width, width, column[i], result + i * width); }
    });
  }
};

auto IsMatrixAndColumn() {
  return user_op::HobDeviceType() == DeviceType::kCPU && user_op::HobDataType("z", 0) == DataType::kFloat &&
         user_op::HobDataType("x", 0) == DataType::kFloat &&
         hob::make_custom([](const user_op::KernelRegContext& context) {
           const auto& x = context.TensorDesc4ArgNameAndIndex("x", 0)->shape();
           const auto& y = context.TensorDesc4ArgNameAndIndex("y", 0)->shape();
           return x.NumAxes() == 2 && y.NumAxes() == 2 && x.At(0) == y.At(0) && y.At(1) == 1;
         });
}

INSIGHTFACE_VECTORISED float FindLargest(const float* row, int64_t width) {
  float largest = row[0];
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < width; ++i) { largest = row[i] > largest ? row[i] : largest; }
  return largest;
}

INSIGHTFACE_VECTORISED int32_t MarkEqual(const float* row, int64_t width, float value, bool* marks) {
  int32_t count = 0;
#pragma omp simd reduction(+ : count)
  for (int64_t i = 0; i < width; ++i) {
    marks[i] = row[i] == value;
    count += marks[i];
  }
  return count;
}

// The largest number of each row, where it is, and how often it is there.
class RowMaxKernel final : public TeamKernel<Kernel::kReduceMaxDeviceStage> {
  void Run(user_op::KernelComputeContext* context) const override {
    const user_op::Tensor* const matrix = context->Tensor4ArgNameAndIndex("in", 0);
    const float* const source = matrix->dptr<float>();
    float* const largest = context->Tensor4ArgNameAndIndex("out", 0)->mut_dptr<float>();
    bool* const marks = context->Tensor4ArgNameAndIndex("mask", 0)->mut_dptr<bool>();
    int32_t* const counts = context->Tensor4ArgNameAndIndex("count", 0)->mut_dptr<int32_t>();
    const int64_t width = matrix->shape_view().At(1);
    ParallelRows(matrix->shape_view().At(0), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        largest[i] = FindLargest(source + i * width, width);
        counts[i] = MarkEqual(source + i * width, width, largest[i], marks + i * width);
      }
    });
  }
};

auto IsMatrixAlongRows() {
  return user_op::HobDeviceType() == DeviceType::kCPU && user_op::HobDataType("in", 0) == DataType::kFloat &&
         hob::make_custom([](const user_op::KernelRegContext& context) {
           const auto& axis = context.Attr<std::vector<int32_t>>("axis");
           return context.TensorDesc4ArgNameAndIndex("in", 0)->shape().NumAxes() == 2 && axis.size() == 1 &&
                  axis[0] == 1;
         });
}

REGISTER_USER_KERNEL("broadcast_sub")
    .SetCreateFn<ColumnKernel<Kernel::kBroadcastSub, Subtract>>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAndColumn());

REGISTER_USER_KERNEL("broadcast_div")
    .SetCreateFn<ColumnKernel<Kernel::kBroadcastDiv, Divide>>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAndColumn());

REGISTER_USER_KERNEL("reduce_max_device_stage")
    .SetCreateFn<RowMaxKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAlongRows());

}  // namespace
}  // namespace insightface
