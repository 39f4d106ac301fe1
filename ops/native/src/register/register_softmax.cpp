// Registers steps of the softmax over several ranks with OneFlow, at a higher priority than its own kernels, which are
// not vectorised for these shapes: matrix minus column, matrix divided by column, and the largest number of each row.
#include <vector>

#include "base/parallel.h"
#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"
#include "single_ops/row_loops.h"

namespace insightface {
namespace {

using namespace oneflow;

// z = x - y or x / y for a matrix x and a column y.
template<Kernel kernel, void (*RowLoops::*Combine)(const float*, int64_t, float, float*)>
class ColumnKernel final : public TeamKernel<kernel> {
  void Run(user_op::KernelComputeContext* context) const override {
    const user_op::Tensor* const matrix = context->Tensor4ArgNameAndIndex("x", 0);
    const float* const source = matrix->dptr<float>();
    const float* const column = context->Tensor4ArgNameAndIndex("y", 0)->dptr<float>();
    float* const result = context->Tensor4ArgNameAndIndex("z", 0)->mut_dptr<float>();
    const int64_t width = matrix->shape_view().At(1);
    ParallelRows(matrix->shape_view().At(0), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        (kRowLoops.*Combine)(source + i * width, width, column[i], result + i * width);
      }
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

// The largest number of each row, its places, and their number.
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
        largest[i] = kRowLoops.Maximum(source + i * width, width);
        counts[i] = kRowLoops.MarkEqual(source + i * width, width, largest[i], marks + i * width);
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
    .SetCreateFn<ColumnKernel<Kernel::kBroadcastSub, &RowLoops::Subtract>>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAndColumn());

REGISTER_USER_KERNEL("broadcast_div")
    .SetCreateFn<ColumnKernel<Kernel::kBroadcastDiv, &RowLoops::Divide>>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAndColumn());

REGISTER_USER_KERNEL("reduce_max_device_stage")
    .SetCreateFn<RowMaxKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsMatrixAlongRows());

}  // namespace
}  // namespace insightface
