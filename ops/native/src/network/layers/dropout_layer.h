// Dropout by a mask that the caller has drawn.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// Keeps the values whose number, channel after channel and from `first` on, has a 1 in the keep mask, times
// 1 / (1 - drop); outside training it keeps all as they are.
std::unique_ptr<Layer> MakeDropoutLayer(int input, int output, const Value& value, int64_t batch, int64_t first,
                                        float drop, bool training);

}  // namespace insightface
