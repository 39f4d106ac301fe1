// Registers products with rows that stay in place (row_products.h) with OneFlow, as two ops of our own. The input
// `rows` holds the address of each rank's RowsHandle. Ranks hold different rows and see all vectors, or if they are
// `replicated` all hold the same rows and see a part of the vectors.
#include "class_rows/row_products.h"
#include "oneflow/core/framework/framework.h"
#include "register/team_kernel.h"

namespace insightface {
namespace {

using namespace oneflow;

Maybe<void> InferProducts(user_op::InferContext* context) {
  const int64_t ranks = context->Attr<bool>("replicated") ? 1 : context->InputShape("rows", 0).At(0);
  const int64_t batch = context->InputShape("vectors", 0).At(0);
  context->SetOutputShape("products", 0, Shape({batch, ranks * context->Attr<int64_t>("slots")}));
  return Maybe<void>::Ok();
}

Maybe<void> InferProductsType(user_op::InferContext* context) {
  context->SetOutputDType("products", 0, DataType::kFloat);
  return Maybe<void>::Ok();
}

Maybe<void> InferGradients(user_op::InferContext* context) {
  context->SetOutputShape("vector_gradients", 0, context->InputShape("vectors", 0));
  context->SetOutputShape("rows_done", 0, context->InputShape("rows", 0));
  return Maybe<void>::Ok();
}

Maybe<void> InferGradientsType(user_op::InferContext* context) {
  context->SetOutputDType("vector_gradients", 0, DataType::kFloat);
  context->SetOutputDType("rows_done", 0, DataType::kDouble);
  return Maybe<void>::Ok();
}

// Each rank multiplies all vectors with its own rows, or its part of the vectors with all rows.
Maybe<void> SplitProducts(user_op::SbpContext* context) {
  if (context->Attr<bool>("replicated")) {
    context->NewBuilder()
        .Split(user_op::OpArg("vectors", 0), 0)
        .Split(user_op::OpArg("rows", 0), 0)
        .Split(user_op::OpArg("products", 0), 0)
        .Build();
    return Maybe<void>::Ok();
  }
  context->NewBuilder()
      .Broadcast(user_op::OpArg("vectors", 0))
      .Split(user_op::OpArg("rows", 0), 0)
      .Split(user_op::OpArg("products", 0), 1)
      .Build();
  return Maybe<void>::Ok();
}

Maybe<void> SplitGradients(user_op::SbpContext* context) {
  if (context->Attr<bool>("replicated")) {
    context->NewBuilder()
        .Split(user_op::OpArg("product_gradients", 0), 0)
        .Split(user_op::OpArg("vectors", 0), 0)
        .Split(user_op::OpArg("rows", 0), 0)
        .Split(user_op::OpArg("vector_gradients", 0), 0)
        .Split(user_op::OpArg("rows_done", 0), 0)
        .Build();
    return Maybe<void>::Ok();
  }
  context->NewBuilder()
      .Split(user_op::OpArg("product_gradients", 0), 1)
      .Broadcast(user_op::OpArg("vectors", 0))
      .Split(user_op::OpArg("rows", 0), 0)
      .PartialSum(user_op::OpArg("vector_gradients", 0))
      .Split(user_op::OpArg("rows_done", 0), 0)
      .Build();
  return Maybe<void>::Ok();
}

REGISTER_USER_OP("insightface_row_products")
    .Input("vectors")
    .Input("rows")
    .Output("products")
    .Attr<int64_t>("slots", 0)
    .Attr<float>("epsilon", 0)
    .Attr<bool>("replicated", false)
    .SetTensorDescInferFn(InferProducts)
    .SetDataTypeInferFn(InferProductsType)
    .SetGetSbpFn(SplitProducts);

REGISTER_USER_OP("insightface_row_products_grad")
    .Input("product_gradients")
    .Input("vectors")
    .Input("rows")
    .Output("vector_gradients")
    .Output("rows_done")
    .Attr<int64_t>("slots", 0)
    .Attr<float>("epsilon", 0)
    .Attr<bool>("replicated", false)
    .SetTensorDescInferFn(InferGradients)
    .SetDataTypeInferFn(InferGradientsType)
    .SetGetSbpFn(SplitGradients);

const RowsHandle& ReadHandle(user_op::KernelComputeContext* context) {
  const double address = *context->Tensor4ArgNameAndIndex("rows", 0)->dptr<double>();
  return *reinterpret_cast<const RowsHandle*>(static_cast<uintptr_t>(address));
}

RowVectors ReadVectors(user_op::KernelComputeContext* context) {
  const user_op::Tensor* const vectors = context->Tensor4ArgNameAndIndex("vectors", 0);
  return {vectors->dptr<float>(), vectors->shape_view().At(0)};
}

class ProductsKernel final : public TeamKernel<Kernel::kRowProducts> {
  void Run(user_op::KernelComputeContext* context) const override {
    MultiplyRows(ReadHandle(context), ReadVectors(context), context->Attr<int64_t>("slots"),
                 context->Attr<float>("epsilon"), context->Tensor4ArgNameAndIndex("products", 0)->mut_dptr<float>());
  }
};

class ProductsGradKernel final : public TeamKernel<Kernel::kRowProductsGrad> {
  void Run(user_op::KernelComputeContext* context) const override {
    MultiplyRowsGrad(ReadHandle(context), ReadVectors(context), context->Attr<int64_t>("slots"),
                     context->Attr<float>("epsilon"),
                     context->Tensor4ArgNameAndIndex("product_gradients", 0)->dptr<float>(),
                     context->Tensor4ArgNameAndIndex("vector_gradients", 0)->mut_dptr<float>());
    *context->Tensor4ArgNameAndIndex("rows_done", 0)->mut_dptr<double>() = 0;
  }
};

REGISTER_USER_KERNEL("insightface_row_products")
    .SetCreateFn<ProductsKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

REGISTER_USER_KERNEL("insightface_row_products_grad")
    .SetCreateFn<ProductsGradKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

}  // namespace
}  // namespace insightface
