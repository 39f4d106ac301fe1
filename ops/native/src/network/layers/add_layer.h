// The sum of two values.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

std::unique_ptr<Layer> MakeAddLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch);

}  // namespace insightface
