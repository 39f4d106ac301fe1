// Dropout with a keep mask that the caller provides.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// Multiplies a value by 1 / (1 - drop) if the keep mask has a 1 for it, else by 0. The mask numbers values channel
// after channel, starting at `first`; with `of_images` it has one number for all values of an image. Outside training
// all values stay unchanged.
std::unique_ptr<Layer> MakeDropoutLayer(int input, int output, const Value& value, int64_t batch, int64_t first,
                                        float drop, bool of_images, bool training);

}  // namespace insightface
