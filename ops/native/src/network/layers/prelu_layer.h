// PReLU on channels-last values.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// One slope per channel where x <= 0 (He et al., 2015).
std::unique_ptr<Layer> MakePreluLayer(int input, int output, const Value& value, int64_t batch, int slope);

}  // namespace insightface
