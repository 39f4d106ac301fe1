// Calls ops that OneFlow's Python package has no function for. Many machines lack Python's headers, so tensors are
// passed as pointers to their Python objects.
#include <dlfcn.h>

#include <exception>
#include <memory>
#include <string>

#include "oneflow/core/framework/attr_map.h"
#include "oneflow/core/framework/op_builder.h"
#include "oneflow/core/framework/tensor_tuple.h"

namespace oneflow {
namespace one {

// Declared here because the header that declares it includes others that the wheel lacks.
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

// The layout of a Python tensor in OneFlow 0.9, behind the two words of every Python object.
struct PythonTensor {
  void* object_header[2];
  std::shared_ptr<one::Tensor> tensor;
};

using NewPythonTensor = void* (*)(const std::shared_ptr<one::Tensor>&);

// Looks the function up at run time: the path of OneFlow's Python module is not known when this is linked.
NewPythonTensor LookUpNewPythonTensor(const char* oneflow_module) {
  void* const library = dlopen(oneflow_module, RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) { return nullptr; }
  return reinterpret_cast<NewPythonTensor>(
      dlsym(library, "_ZN7oneflow3one12PyTensor_NewERKSt10shared_ptrINS0_6TensorEE"));
}

thread_local std::string last_error;

}  // namespace
}  // namespace insightface

// The inputs or outputs of an op that share a name; for outputs `tensors` is null.
struct InsightfaceArgument {
  const char* name;
  int32_t count;
  void* const* tensors;
};

// An attribute of an op: `type` ('i', 'f', 'b' or 's') says which of the values is set.
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

// Runs an op and writes its outputs to `results` as new references. Returns null, or an error message that is valid
// until the thread's next call. The caller holds Python's global interpreter lock.
const char* insightface_dispatch(const char* op_name, const InsightfaceAttribute* attributes, int32_t attribute_count,
                                 const InsightfaceArgument* inputs, int32_t input_kinds,
                                 const InsightfaceArgument* outputs, int32_t output_kinds, const char* oneflow_module,
                                 void** results) {
  using namespace insightface;
  const NewPythonTensor new_python_tensor = LookUpNewPythonTensor(oneflow_module);
  if (new_python_tensor == nullptr) { return "this build of OneFlow has no PyTensor_New"; }
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
