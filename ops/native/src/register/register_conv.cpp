// Registers the convolutions with OneFlow, at a higher priority than its own kernels.
#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include "base/arrays.h"
#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"
#include "single_ops/conv.h"

namespace insightface {
namespace {

using namespace oneflow;

// The names of a convolution's three tensors in one op.
struct OperandNames {
  const char* input;
  const char* filter;
  const char* output;
};

constexpr OperandNames kForwardNames{"in", "weight", "out"};
constexpr OperandNames kDataGradNames{"dx", "filter", "dy"};
constexpr OperandNames kFilterGradNames{"x", "filter_diff", "dy"};

template<typename Context, typename AnyShape>
ConvShape ReadShape(const Context& context, const AnyShape& in, const AnyShape& filter, const AnyShape& out) {
  const auto& strides = context->template Attr<std::vector<int32_t>>("strides");
  const auto& dilation = context->template Attr<std::vector<int32_t>>("dilation_rate");
  const auto& padding = context->template Attr<std::vector<int32_t>>("padding_before");
  ConvShape shape{};
  shape.batch = in.At(0);
  shape.groups = context->template Attr<int32_t>("groups");
  shape.in_channels = in.At(1);
  shape.in_h = in.At(2);
  shape.in_w = in.At(3);
  shape.out_channels = out.At(1);
  shape.out_h = out.At(2);
  shape.out_w = out.At(3);
  shape.kernel_h = filter.At(2);
  shape.kernel_w = filter.At(3);
  shape.stride_h = strides.at(0);
  shape.stride_w = strides.at(1);
  shape.dilation_h = dilation.at(0);
  shape.dilation_w = dilation.at(1);
  shape.pad_top = padding.at(0);
  shape.pad_left = padding.at(1);
  return shape;
}

size_t InferWorkspace(ConvPass pass, const OperandNames& names, user_op::InferContext* context) {
  const ConvShape shape =
      ReadShape(context, context->Shape4ArgNameAndIndex(names.input, 0),
                context->Shape4ArgNameAndIndex(names.filter, 0), context->Shape4ArgNameAndIndex(names.output, 0));
  if (shape.batch == 0) { return 0; }
  size_t bytes = 0;
  OnTeam([&] { bytes = ConvWorkspaceBytes(pass, shape, context->has_input("bias", 0)); });
  return bytes;
}

float* Data(user_op::KernelComputeContext* context, const char* name) {
  // OneFlow gives mutable memory only for outputs; oneDNN's arguments have no const.
  return const_cast<float*>(context->Tensor4ArgNameAndIndex(name, 0)->dptr<float>());
}

void Compute(ConvPass pass, const OperandNames& names, user_op::KernelComputeContext* context) {
  const ConvShape shape = ReadShape(context, context->Tensor4ArgNameAndIndex(names.input, 0)->shape_view(),
                                    context->Tensor4ArgNameAndIndex(names.filter, 0)->shape_view(),
                                    context->Tensor4ArgNameAndIndex(names.output, 0)->shape_view());
  const ConvTensors tensors{Data(context, names.input), Data(context, names.filter), Data(context, names.output),
                            context->has_input("bias", 0) ? Data(context, "bias") : nullptr};
  user_op::Tensor* workspace = context->Tensor4ArgNameAndIndex("tmp_buffer", 0);
  try {
    RunConv(pass, shape, tensors, workspace != nullptr ? workspace->mut_dptr<char>() : nullptr,
            workspace != nullptr ? static_cast<size_t>(workspace->shape_view().elem_cnt()) : 0);
  } catch (const std::exception& error) {
    LOG(FATAL) << "oneDNN cannot compute " << context->op_name() << ": " << error.what();
  }
}

// Adds the addend that graph compilation may have fused into the op.
void AddFused(user_op::KernelComputeContext* context, const char* output) {
  if (!context->has_input("_add_to_output", 0)) { return; }
  AddInto(Data(context, output), Data(context, "_add_to_output"),
          context->Tensor4ArgNameAndIndex(output, 0)->shape_view().elem_cnt());
}

class ConvKernel final : public TeamKernel<Kernel::kConv> {
  void Run(user_op::KernelComputeContext* context) const override {
    insightface::Compute(ConvPass::kForward, kForwardNames, context);
    AddFused(context, kForwardNames.output);
  }
};

class ConvDataGradKernel final : public TeamKernel<Kernel::kConvDataGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    insightface::Compute(ConvPass::kDataGrad, kDataGradNames, context);
    AddFused(context, kDataGradNames.input);
  }
};

class ConvFilterGradKernel final : public TeamKernel<Kernel::kConvFilterGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    if (context->Tensor4ArgNameAndIndex("x", 0)->shape_view().elem_cnt() == 0) {
      user_op::Tensor* gradient = context->Tensor4ArgNameAndIndex("filter_diff", 0);
      std::fill_n(gradient->mut_dptr<float>(), gradient->shape_view().elem_cnt(), 0.0f);
      return;
    }
    insightface::Compute(ConvPass::kFilterGrad, kFilterGradNames, context);
  }
};

auto IsPlainFloatOnCpu(const std::string& tensor) {
  return user_op::HobDeviceType() == DeviceType::kCPU && user_op::HobDataType(tensor, 0) == DataType::kFloat &&
         user_op::HobAttr<std::string>("data_format") == std::string("channels_first");
}

REGISTER_USER_KERNEL("conv2d")
    .SetCreateFn<ConvKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsPlainFloatOnCpu("in"))
    .SetInferTmpSizeFn([](user_op::InferContext* context) {
      return InferWorkspace(ConvPass::kForward, kForwardNames, context);
    });

REGISTER_USER_KERNEL("conv_data_grad")
    .SetCreateFn<ConvDataGradKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsPlainFloatOnCpu("dy") && user_op::HobAttr<int32_t>("num_spatial_dims") == 2)
    .SetInferTmpSizeFn([](user_op::InferContext* context) {
      return InferWorkspace(ConvPass::kDataGrad, kDataGradNames, context);
    });

REGISTER_USER_KERNEL("conv_filter_grad")
    .SetCreateFn<ConvFilterGradKernel>()
    .SetPriority(user_op::kKernelPriorityOptimized)
    .SetIsMatchedHob(IsPlainFloatOnCpu("dy") && user_op::HobAttr<int32_t>("num_spatial_dims") == 2)
    .SetInferTmpSizeFn([](user_op::InferContext* context) {
      return InferWorkspace(ConvPass::kFilterGrad, kFilterGradNames, context);
    });

}  // namespace
}  // namespace insightface
