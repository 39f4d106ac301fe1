// Activations without parameters.
#pragma once

#include <memory>
#include <string>

#include "network/layers/layer.h"

namespace insightface {

// relu, sigmoid or tanh; null for another name.
std::unique_ptr<Layer> MakeActivationLayer(const std::string& name, int input, int output, const Value& value,
                                           int64_t batch);

}  // namespace insightface
