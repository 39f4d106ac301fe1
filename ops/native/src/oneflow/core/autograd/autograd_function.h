// A header that OneFlow's own headers include but its wheel leaves out. Only the type of a callback is used from it.
#pragma once

#include <functional>
#include <memory>

namespace oneflow {
namespace one {

class FunctionAutoGradCaptureState;
class TensorTuple;

class AutogradFunctionBase {
 public:
  using FType = std::function<std::shared_ptr<TensorTuple>(const std::shared_ptr<FunctionAutoGradCaptureState>&,
                                                           const TensorTuple&)>;
};

}  // namespace one
}  // namespace oneflow
