// The way from Python to ops that OneFlow's Python has no function for, without Python's headers (many machines have
// none): tensors come and go as pointers to their Python objects.
#include <dlfcn.h>

#include <exception>
#include <memory>
#include <string>

#include "oneflow/core/framework/attr_map.h"
#include "oneflow/core/framework/op_builder.h"
#include "oneflow/core/framework/tensor_tuple.h"

namespace oneflow {
namespace one {

// Declared here because the header that does it includes others that the wheel lacks.
class OpInterpUtil {
 public:
  template<typename T>
  static Maybe<T> Dispatch(const OpExpr& op, const TensorTuple& inputs, const AttrMap& attributes);
};

}  // namespace one
}  // namespace oneflow

namespace insightface {
namespace {

using namespace oneflow;

// How OneFlow 0.9 lays out a Python tensor behind the two words of every Python object.
struct PythonTensor {
  void* object_header[2];
  std::shared_ptr<one::Tensor> tensor;
};

using NewPythonTensor = void* (*)(const std::shared_ptr<one::Tensor>&);

// OneFlow's Python module is not linked against, since its place is known at run time only.
NewPythonTensor FindNewPythonTensor(const char* oneflow_module) {
  void* const library = dlopen(oneflow_module, RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) { return nullptr; }
  return reinterpret_cast<NewPythonTensor>(
      dlsym(library, "_ZN7oneflow3one12PyTensor_NewERKSt10shared_ptrINS0_6TensorEE"));
}

thread_local std::string last_error;

}  // namespace
}  // namespace insightface

// One kind of inputs or outputs of an op; outputs leave `tensors` null.
struct InsightfaceArgument {
  const char* name;
  int32_t count;
  void* const* tensors;
};

// An attribute of an op: `type` says which of the values counts ('i', 'f', 'b' or 's').
struct InsightfaceAttribute {
  const char* name;
  char type;
  int64_t number;  // of 'b' and 'i'
  double real;
  const char* text;
};

namespace insightface {
namespace {

void SetAttribute(const InsightfaceAttribute& attribute, one::OpBuilder* builder) {
  const std::string name = attribute.name;
  switch (attribute.type) {
    case 'i': builder->Attr<int64_t>(name, attribute.number); break;
    case 'b': builder->Attr<bool>(name, attribute.number != 0); break;
    case 'f': builder->Attr<float>(name, static_cast<float>(attribute.real)); break;
    default: builder->Attr<std::string>(name, attribute.text);
  }
}

}  // namespace
}  // namespace insightface

extern "C" {

// Runs an op and writes its outputs to `results` as new references. Returns null, or what went wrong (valid until the
// thread's next call). The caller holds Python's lock.
const char* insightface_dispatch(const char* op_name, const InsightfaceAttribute* attributes, int32_t attribute_count,
                                 const InsightfaceArgument* inputs, int32_t input_kinds,
                                 const InsightfaceArgument* outputs, int32_t output_kinds, const char* oneflow_module,
                                 void** results) {
  using namespace insightface;
  const NewPythonTensor new_python_tensor = FindNewPythonTensor(oneflow_module);
  if (new_python_tensor == nullptr) { return "this build of OneFlow makes Python tensors in a way not known here"; }
  try {
    one::OpBuilder builder(op_name);
    one::TensorTuple tensors;
    for (int32_t kind = 0; kind < input_kinds; ++kind) {
      builder.Input(inputs[kind].name, inputs[kind].count);
      for (int32_t i = 0; i < inputs[kind].count; ++i) {
        tensors.push_back(static_cast<PythonTensor*>(inputs[kind].tensors[i])->tensor);
      }
    }
    for (int32_t kind = 0; kind < output_kinds; ++kind) { builder.Output(outputs[kind].name, outputs[kind].count); }
    for (int32_t i = 0; i < attribute_count; ++i) { SetAttribute(attributes[i], &builder); }
    const auto op = builder.Build();
    if (!op.IsOk()) {
      last_error = op.GetSerializedError();
      return last_error.c_str();
    }
    const auto made = one::OpInterpUtil::Dispatch<one::TensorTuple>(*CHECK_JUST(op), tensors, AttrMap{});
    if (!made.IsOk()) {
      last_error = made.GetSerializedError();
      return last_error.c_str();
    }
    for (const auto& tensor : *CHECK_JUST(made)) { *results++ = new_python_tensor(tensor); }
  } catch (const std::exception& error) {
    last_error = error.what();
    return last_error.c_str();
  }
  return nullptr;
}

}  // extern "C"
