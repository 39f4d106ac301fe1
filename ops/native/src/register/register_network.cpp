// Registers whole networks with OneFlow as three ops of our own: training forward, its backward, and inference.
#include <exception>
#include <mutex>
#include <string>

#include "base/library_pages.h"
#include "network/plan/network.h"
#include "oneflow/core/framework/framework.h"
#include "register/network_inference.h"
#include "register/team_kernel.h"

namespace insightface {
namespace {

using namespace oneflow;

Purpose PurposeOf(bool training, bool recomputes) {
  if (!training) { return Purpose::kInference; }
  return recomputes ? Purpose::kRecomputing : Purpose::kTraining;
}

ArrayTable* TableOf(user_op::KernelComputeContext* context) {
  if (!context->has_input("memory", 0)) { return nullptr; }
  const double address = *context->Tensor4ArgNameAndIndex("memory", 0)->dptr<double>();
  return reinterpret_cast<ArrayTable*>(static_cast<uintptr_t>(address));
}

// With an input "memory" the block of a training is the caller's, and so are the gradients in it.
template<typename Context>
NetworkKey KeyOf(const Context& context, int64_t batch, bool training) {
  const bool holds_gradients = training && context->has_input("memory", 0);
  return {context->template Attr<std::string>("description"),
          batch,
          TypeOf(context->template Attr<bool>("bfloat16")),
          PurposeOf(training, context->template Attr<bool>("recompute")),
          holds_gradients,
          holds_gradients ? context->template Attr<std::string>("used_up") : ""};
}

template<typename Context>
std::shared_ptr<Network> NetworkFor(const Context& context, int64_t batch, bool training) {
  const NetworkKey key = KeyOf(context, batch, training);
  std::shared_ptr<Network> network;
  OnTeam([&] { network = GetNetwork(key); });
  return network;
}

Maybe<void> InferTraining(user_op::InferContext* context, int64_t ranks) {
  const int64_t batch = context->InputShape("images", 0).At(0);
  CHECK_EQ_OR_RETURN(batch % ranks, 0) << "the batch must divide over the ranks";
  const auto network = NetworkFor(context, batch / ranks, true);
  context->SetOutputShape("embeddings", 0, Shape({batch, network->EmbeddingSize()}));
  const int64_t saved = context->has_input("memory", 0) ? 1 : network->BlockBytes();
  context->SetOutputShape("saved", 0, Shape({ranks * saved}));
  context->SetOutputDType("saved", 0, DataType::kInt8);
  return Maybe<void>::Ok();
}

Maybe<void> InferTrainingLogical(user_op::InferContext* context) {
  return InferTraining(context, context->parallel_num());
}

Maybe<void> InferTrainingPhysical(user_op::InferContext* context) { return InferTraining(context, 1); }

Maybe<void> InferTrainingType(user_op::InferContext* context) {
  context->SetOutputDType("embeddings", 0, DataType::kFloat);
  context->SetOutputDType("saved", 0, DataType::kInt8);
  return Maybe<void>::Ok();
}

Maybe<void> InferInference(user_op::InferContext* context) {
  const int64_t batch = context->InputShape("images", 0).At(0);
  const int64_t size = context->Attr<int64_t>("embedding_size");
  context->SetOutputShape("embeddings", 0, Shape({batch, size}));
  return Maybe<void>::Ok();
}

Maybe<void> InferInferenceType(user_op::InferContext* context) {
  context->SetOutputDType("embeddings", 0, DataType::kFloat);
  return Maybe<void>::Ok();
}

Maybe<void> InferBackward(user_op::InferContext* context) {
  for (int32_t i = 0; i < context->input_size("parameters"); ++i) {
    context->SetOutputShape("parameter_gradients", i, context->InputShape("parameters", i));
  }
  return Maybe<void>::Ok();
}

Maybe<void> InferBackwardType(user_op::InferContext* context) {
  for (int32_t i = 0; i < context->input_size("parameters"); ++i) {
    context->SetOutputDType("parameter_gradients", i, DataType::kFloat);
  }
  return Maybe<void>::Ok();
}

Maybe<void> InferBackwardInPlace(user_op::InferContext* context) {
  context->SetOutputShape("done", 0, context->InputShape("memory", 0));
  return Maybe<void>::Ok();
}

Maybe<void> InferBackwardInPlaceType(user_op::InferContext* context) {
  context->SetOutputDType("done", 0, DataType::kDouble);
  return Maybe<void>::Ok();
}

bool IsArray(const std::string& name) { return name == "parameters" || name == "moving"; }

// Images, embeddings and saved values are split over the ranks; every rank has all arrays.
Maybe<void> SplitBatch(user_op::SbpContext* context) {
  auto signature = context->NewBuilder();
  for (const auto& input : context->inputs()) {
    const user_op::OpArg argument(std::string(input.first), input.second);
    if (IsArray(input.first)) {
      signature.Broadcast(argument);
    } else {
      signature.Split(argument, 0);
    }
  }
  for (const auto& output : context->outputs()) {
    const user_op::OpArg argument(std::string(output.first), output.second);
    if (output.first == "parameter_gradients") {
      signature.PartialSum(argument);
    } else {
      signature.Split(argument, 0);
    }
  }
  signature.Build();
  return Maybe<void>::Ok();
}

Maybe<void> UpdateMoving(const user_op::GetInputArgModifier& modifier, const user_op::UserOpConfWrapper& conf) {
  for (int32_t i = 0; i < conf.input_size("moving"); ++i) { modifier("moving", i)->set_is_mutable(true); }
  return Maybe<void>::Ok();
}

Maybe<void> InferAddresses(user_op::InferContext* context) {
  context->SetOutputShape("addresses", 0, Shape({context->input_size("arrays")}));
  return Maybe<void>::Ok();
}

Maybe<void> InferAddressesType(user_op::InferContext* context) {
  context->SetOutputDType("addresses", 0, DataType::kInt64);
  return Maybe<void>::Ok();
}

// Where local tensors lie, for an ArrayTable: OneFlow's own way to ask takes a millisecond for each.
REGISTER_USER_OP("insightface_addresses")
    .Input("arrays")
    .Output("addresses")
    .SetTensorDescInferFn(InferAddresses)
    .SetDataTypeInferFn(InferAddressesType)
    .SetGetSbpFn(user_op::GetSbpFnUtil::DefaultBroadcastToBroadcast);

REGISTER_USER_OP("insightface_network_forward")
    .Input("images")
    .OptionalInput("keep")
    .OptionalInput("parameters")
    .OptionalInput("moving")
    .OptionalInput("memory")
    .Output("embeddings")
    .Output("saved")
    .Attr<std::string>("description")
    .Attr<bool>("bfloat16", false)
    .Attr<bool>("recompute", false)
    .Attr<std::string>("used_up", "")
    .Attr<int64_t>("embedding_size", 0)
    .SetLogicalTensorDescInferFn(InferTrainingLogical)
    .SetPhysicalTensorDescInferFn(InferTrainingPhysical)
    .SetDataTypeInferFn(InferTrainingType)
    .SetGetSbpFn(SplitBatch)
    .SetInputArgModifyFn(UpdateMoving);

REGISTER_USER_OP("insightface_network_backward")
    .Input("saved")
    .Input("embedding_gradients")
    .OptionalInput("keep")
    .Input("parameters")
    .Output("parameter_gradients")
    .Attr<std::string>("description")
    .Attr<bool>("bfloat16", false)
    .Attr<bool>("recompute", false)
    .Attr<int64_t>("embedding_size", 0)
    .SetTensorDescInferFn(InferBackward)
    .SetDataTypeInferFn(InferBackwardType)
    .SetGetSbpFn(SplitBatch);

// The gradients stay in the caller's memory; the output is a zero that exists once they are there.
REGISTER_USER_OP("insightface_network_backward_in_place")
    .Input("saved")
    .Input("embedding_gradients")
    .OptionalInput("keep")
    .Input("memory")
    .Output("done")
    .Attr<std::string>("description")
    .Attr<bool>("bfloat16", false)
    .Attr<bool>("recompute", false)
    .Attr<std::string>("used_up", "")
    .Attr<int64_t>("embedding_size", 0)
    .SetTensorDescInferFn(InferBackwardInPlace)
    .SetDataTypeInferFn(InferBackwardInPlaceType)
    .SetGetSbpFn(SplitBatch);

REGISTER_USER_OP("insightface_network_inference")
    .Input("images")
    .OptionalInput("parameters")
    .OptionalInput("moving")
    .OptionalInput("memory")
    .Output("embeddings")
    .Attr<std::string>("description")
    .Attr<bool>("bfloat16", false)
    .Attr<bool>("recompute", false)
    .Attr<int64_t>("embedding_size", 0)
    .SetTensorDescInferFn(InferInference)
    .SetDataTypeInferFn(InferInferenceType)
    .SetGetSbpFn(SplitBatch);

// Collects the pointers of the tensors that an op has; those of other ops stay null.
NetworkMemory CollectMemory(user_op::KernelComputeContext* context) {
  NetworkMemory memory;
  const auto read = [&](const char* name, int32_t i) { return context->Tensor4ArgNameAndIndex(name, i); };
  if (context->has_input("images", 0)) {
    const user_op::Tensor* const images = read("images", 0);
    memory.images = {images->dptr(), images->data_type() == DataType::kUInt8, images->shape_view().At(1)};
  }
  if (context->has_input("keep", 0)) {
    memory.keep = read("keep", 0)->dptr<uint8_t>();
    memory.keep_width = read("keep", 0)->shape_view().At(1);
  }
  for (int32_t i = 0; i < context->input_size("parameters"); ++i) {
    memory.parameters.push_back(read("parameters", i)->dptr<float>());
  }
  for (int32_t i = 0; i < context->input_size("moving"); ++i) {
    // Inference only reads them, but shares the type with training.
    memory.moving.push_back(const_cast<float*>(read("moving", i)->dptr<float>()));
  }
  for (int32_t i = 0; i < context->output_size("parameter_gradients"); ++i) {
    memory.parameter_gradients.push_back(read("parameter_gradients", i)->mut_dptr<float>());
  }
  if (const ArrayTable* const table = TableOf(context)) {
    memory.block = table->block;
    memory.updates = table->updates;
    table->AddTo(&memory);
  }
  if (context->has_output("embeddings", 0)) { memory.embeddings = read("embeddings", 0)->mut_dptr<float>(); }
  return memory;
}

template<typename Work>
void Guard(user_op::KernelComputeContext* context, const Work& work) {
  try {
    work();
  } catch (const std::exception& error) {
    LOG(FATAL) << "the network cannot be computed in " << context->op_name() << ": " << error.what();
  }
}

class AddressesKernel final : public user_op::OpKernel {
 public:
  bool AlwaysComputeWhenAllOutputsEmpty() const override { return false; }

 private:
  using OpKernel::Compute;
  void Compute(user_op::KernelComputeContext* context) const override {
    int64_t* const addresses = context->Tensor4ArgNameAndIndex("addresses", 0)->mut_dptr<int64_t>();
    for (int32_t i = 0; i < context->input_size("arrays"); ++i) {
      addresses[i] = reinterpret_cast<int64_t>(context->Tensor4ArgNameAndIndex("arrays", i)->dptr());
    }
  }
};

class ForwardKernel final : public TeamKernel<Kernel::kNetworkForward> {
  void Run(user_op::KernelComputeContext* context) const override {
    Guard(context, [&] {
      NetworkMemory memory = CollectMemory(context);
      if (memory.block == nullptr) {
        memory.block = static_cast<char*>(context->Tensor4ArgNameAndIndex("saved", 0)->mut_dptr());
      } else {
        std::call_once(is_started_, ReleaseLibraryPages);  // the graph is compiled
      }
      const int64_t batch = context->Tensor4ArgNameAndIndex("images", 0)->shape_view().At(0);
      NetworkFor(context, batch, true)->Forward(memory);
    });
  }

  mutable std::once_flag is_started_;
};

class BackwardKernel final : public TeamKernel<Kernel::kNetworkBackward> {
  void Run(user_op::KernelComputeContext* context) const override {
    Guard(context, [&] {
      NetworkMemory memory = CollectMemory(context);
      if (memory.block == nullptr) {
        // What the forward pass left there is used up, so its memory serves the backward pass.
        const void* const saved = context->Tensor4ArgNameAndIndex("saved", 0)->dptr();
        memory.block = const_cast<char*>(static_cast<const char*>(saved));
      } else {
        *context->Tensor4ArgNameAndIndex("done", 0)->mut_dptr<double>() = 0;
      }
      const user_op::Tensor* gradients = context->Tensor4ArgNameAndIndex("embedding_gradients", 0);
      memory.embedding_gradients = gradients->dptr<float>();
      if (memory.updates != nullptr) {
        memory.updates->Begin(memory.embedding_gradients, gradients->shape_view().elem_cnt());
      }
      NetworkFor(context, gradients->shape_view().At(0), true)->Backward(memory);
    });
  }
};

class InferenceKernel final : public TeamKernel<Kernel::kNetworkInference> {
  void Run(user_op::KernelComputeContext* context) const override {
    Guard(context, [&] {
      if (TableOf(context) != nullptr) { std::call_once(is_started_, ReleaseLibraryPages); }
      const user_op::Tensor* const images = context->Tensor4ArgNameAndIndex("images", 0);
      const ArrayTable* const table = TableOf(context);
      int64_t numbers = table == nullptr ? 0 : table->parameter_numbers;
      for (int32_t i = 0; i < context->input_size("parameters"); ++i) {
        numbers += context->Tensor4ArgNameAndIndex("parameters", i)->shape_view().elem_cnt();
      }
      const int64_t image_bytes = images->shape_view().Count(1) * GetSizeOfDataType(images->data_type());
      InferInPortions(KeyOf(context, images->shape_view().At(0), false), numbers, image_bytes, CollectMemory(context));
    });
  }

  mutable std::once_flag is_started_;
};

REGISTER_USER_KERNEL("insightface_addresses")
    .SetCreateFn<AddressesKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

REGISTER_USER_KERNEL("insightface_network_forward")
    .SetCreateFn<ForwardKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

REGISTER_USER_KERNEL("insightface_network_backward")
    .SetCreateFn<BackwardKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

REGISTER_USER_KERNEL("insightface_network_backward_in_place")
    .SetCreateFn<BackwardKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

REGISTER_USER_KERNEL("insightface_network_inference")
    .SetCreateFn<InferenceKernel>()
    .SetIsMatchedHob(user_op::HobDeviceType() == DeviceType::kCPU);

}  // namespace
}  // namespace insightface

extern "C" {

// Returns null if the network can be executed here, else the reason why not, valid until the thread's next call.
const char* insightface_check_network(const char* description, int32_t bfloat16) {
  using namespace insightface;
  static thread_local std::string reason;
  try {
    Assemble(description, 1, TypeOf(bfloat16 != 0), true);
    Assemble(description, 1, TypeOf(bfloat16 != 0), false);
  } catch (const std::exception& error) {
    reason = error.what();
    return reason.c_str();
  }
  return nullptr;
}

// Writes the memory that the op takes for a batch, in bytes: `sizes` = {the block of one execution, the part of it that
// is kept for the backward pass, copies of weights}. With `offsets`, one per parameter, the gradients of a training lie in
// the block, so many bytes after its first aligned address; `used_up` says which are used up there (NetworkKey). Returns
// null, or why the network cannot be executed.
const char* insightface_network_memory(const char* description, int64_t batch, int32_t bfloat16, int32_t training,
                                       int32_t recompute, const char* used_up, int64_t* sizes, int64_t* offsets) {
  using namespace insightface;
  static thread_local std::string reason;
  try {
    std::shared_ptr<Network> network;
    OnTeam([&] {
      network = GetNetwork({description, batch, TypeOf(bfloat16 != 0), PurposeOf(training != 0, recompute != 0),
                            training != 0 && offsets != nullptr, used_up});
    });
    sizes[0] = network->BlockBytes();
    sizes[1] = network->KeptBytes();
    sizes[2] = network->CopyBytes();
    for (int64_t i = 0; offsets != nullptr && training != 0 && i < network->ParameterCount(); ++i) {
      offsets[i] = network->GradientOffset(static_cast<size_t>(i));
    }
  } catch (const std::exception& error) {
    reason = error.what();
    return reason.c_str();
  }
  return nullptr;
}

}  // extern "C"
