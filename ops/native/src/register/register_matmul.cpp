// Registers matrix products and rows of unit length, the ops of the classification head, with OneFlow, at a
// higher priority than its own kernels.
#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"
#include "single_ops/matmul.h"
#include "single_ops/row_norms.h"

namespace insightface {
namespace {

using namespace oneflow;

class MatmulKernel final : public TeamKernel<Kernel::kMatmul> {
  void Run(user_op::KernelComputeContext* context) const override {
    const user_op::Tensor* const a = context->Tensor4ArgNameAndIndex("a", 0);
    const user_op::Tensor* const b = context->Tensor4ArgNameAndIndex("b", 0);
    user_op::Tensor* const out = context->Tensor4ArgNameAndIndex("out", 0);
    const bool a_transposed = context->Attr<bool>("transpose_a"), b_transposed = context->Attr<bool>("transpose_b");
    const MatmulShape shape{out->shape_view().At(0), a->shape_view().At(a_transposed ? 0 : 1), out->shape_view().At(1),
                            a_transposed, b_transposed};
    float* const result = out->mut_dptr<float>();
    const bool adds = context->has_input("_add_to_output", 0);
    if (adds) {
      const user_op::Tensor* const addend = context->Tensor4ArgNameAndIndex("_add_to_output", 0);
      if (addend->dptr() != out->dptr()) { std::copy_n(addend->dptr<float>(), shape.rows * shape.columns, result); }
    }
    Matmul(shape, a->dptr<float>(), b->dptr<float>(), static_cast<float>(context->Attr<double>("alpha")), adds, result);
  }
};

// Rows of the second axis, dense in memory.
RowsShape ReadRows(user_op::KernelComputeContext* context) {
  const auto& shape = context->Tensor4ArgNameAndIndex("y", 0)->shape_view();
  return {shape.At(0), shape.At(1)};
}

class L2NormalizeKernel final : public TeamKernel<Kernel::kL2Normalize> {
  void Run(user_op::KernelComputeContext* context) const override {
    NormalizeRows(ReadRows(context), context->Tensor4ArgNameAndIndex("x", 0)->dptr<float>(),
                  context->Attr<float>("epsilon"), context->Tensor4ArgNameAndIndex("y", 0)->mut_dptr<float>(),
                  context->Tensor4ArgNameAndIndex("square_x_sum", 0)->mut_dptr<float>());
  }
};

class L2NormalizeGradKernel final : public TeamKernel<Kernel::kL2NormalizeGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    const auto read = [&](const char* name) { return context->Tensor4ArgNameAndIndex(name, 0)->dptr<float>(); };
    NormalizeRowsGrad(ReadRows(context), read("y"), read("dy"), read("square_x_sum"), context->Attr<float>("epsilon"),
                      context->Tensor4ArgNameAndIndex("dx", 0)->mut_dptr<float>());
  }
};

auto IsFloatOnCpu(const std::string& tensor) {
  return user_op::HobDeviceType() == DeviceType::kCPU && user_op::HobDataType(tensor, 0) == DataType::kFloat;
}

// True for matrices that are normalised along their second axis.
auto HasPlainRows(const std::string& tensor) {
  return IsFloatOnCpu(tensor) && user_op::HobAttr<int32_t>("axis") == 1 &&
         hob::make_custom([](const user_op::KernelRegContext& context) {
           return context.TensorDesc4ArgNameAndIndex("y", 0)->shape().NumAxes() == 2;
         });
}

REGISTER_USER_KERNEL("matmul")
    .SetCreateFn<MatmulKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsFloatOnCpu("out"));

REGISTER_USER_KERNEL("l2_normalize")
    .SetCreateFn<L2NormalizeKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(HasPlainRows("y"));

REGISTER_USER_KERNEL("l2_normalize_grad")
    .SetCreateFn<L2NormalizeGradKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(HasPlainRows("dx"));

}  // namespace
}  // namespace insightface
