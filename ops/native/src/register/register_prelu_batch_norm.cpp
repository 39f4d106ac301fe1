// Registers PReLU and batch normalisation with OneFlow, at a higher priority than its own kernels.
#include <string>

#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"
#include "single_ops/batch_norm.h"
#include "single_ops/prelu.h"

namespace insightface {
namespace {

using namespace oneflow;

const float* Read(user_op::KernelComputeContext* context, const char* name) {
  return context->Tensor4ArgNameAndIndex(name, 0)->dptr<float>();
}

float* Write(user_op::KernelComputeContext* context, const char* name) {
  return context->Tensor4ArgNameAndIndex(name, 0)->mut_dptr<float>();
}

BatchNormShape ReadPlanes(user_op::KernelComputeContext* context) {
  const auto& shape = context->Tensor4ArgNameAndIndex("x", 0)->shape_view();
  const int64_t channels = shape.NumAxes() > 1 ? shape.At(1) : 1;
  return {shape.At(0), channels, shape.elem_cnt() / (shape.At(0) * channels)};
}

PreluShape ReadPreluShape(user_op::KernelComputeContext* context) {
  const BatchNormShape planes = ReadPlanes(context);
  return {planes.batch * planes.channels, planes.inner,
          context->Tensor4ArgNameAndIndex("alpha", 0)->shape_view().elem_cnt()};
}

class PreluKernel final : public TeamKernel<Kernel::kPrelu> {
  void Run(user_op::KernelComputeContext* context) const override {
    Prelu(ReadPreluShape(context), Read(context, "x"), Read(context, "alpha"), Write(context, "y"));
  }
};

class PreluGradKernel final : public TeamKernel<Kernel::kPreluGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    PreluGrad(ReadPreluShape(context), Read(context, "x"), Read(context, "alpha"), Read(context, "dy"),
              Write(context, "dx"), context->has_output("alpha_diff", 0) ? Write(context, "alpha_diff") : nullptr);
  }
};

class NormalizationKernel final : public TeamKernel<Kernel::kNormalization> {
  void Run(user_op::KernelComputeContext* context) const override {
    const BatchNormShape shape = ReadPlanes(context);
    const float epsilon = context->Attr<float>("epsilon");
    const float* x = Read(context, "x");
    const float* gamma = Read(context, "gamma");
    const float* beta = Read(context, "beta");
    const float* addend = context->has_input("_add_to_output", 0) ? Read(context, "_add_to_output") : nullptr;
    if (!context->Attr<bool>("training")) {
      BatchNormInference(shape, x, Read(context, "moving_mean"), Read(context, "moving_variance"), gamma, beta, epsilon,
                         addend, Write(context, "y"));
      return;
    }
    MovingStatistics moving{nullptr, nullptr, context->Attr<float>("momentum")};
    if (context->has_input("moving_mean", 0)) {
      moving.mean = Write(context, "moving_mean");
      moving.variance = Write(context, "moving_variance");
    }
    BatchNormTraining(shape, x, gamma, beta, epsilon, moving, addend, Write(context, "y"), Write(context, "mean"),
                      Write(context, "inv_variance"));
  }
};

class NormalizationGradKernel final : public TeamKernel<Kernel::kNormalizationGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    BatchNormGrad(ReadPlanes(context), Read(context, "x"), Read(context, "dy"), Read(context, "mean"),
                  Read(context, "inv_variance"), Read(context, "gamma"), Write(context, "dx"),
                  Write(context, "gamma_diff"), Write(context, "beta_diff"));
  }
};

auto IsFloatOnCpu(const std::string& tensor) {
  return user_op::HobDeviceType() == DeviceType::kCPU && user_op::HobDataType(tensor, 0) == DataType::kFloat;
}

REGISTER_USER_KERNEL("prelu")
    .SetCreateFn<PreluKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsFloatOnCpu("y"));

REGISTER_USER_KERNEL("prelu_grad")
    .SetCreateFn<PreluGradKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsFloatOnCpu("dx"));

// Only for channels on the second axis; OneFlow's own kernels compute other axes.
REGISTER_USER_KERNEL("normalization")
    .SetCreateFn<NormalizationKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsFloatOnCpu("y") && user_op::HobAttr<int32_t>("axis") == 1);

REGISTER_USER_KERNEL("normalization_grad")
    .SetCreateFn<NormalizationGradKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsFloatOnCpu("dx") && user_op::HobAttr<int32_t>("axis") == 1);

}  // namespace
}  // namespace insightface
