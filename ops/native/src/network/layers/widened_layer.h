// Runs layers that multiply bfloat16 maps on a processor without bfloat16 products.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

// Whether oneDNN multiplies bfloat16 here: from AVX-512 on.
bool MultipliesBFloat16();

// Returns a layer that computes `inner` in float32: it widens the maps and gradients that `inner` reads into scratch
// memory and rounds those it writes. `inner` numbers its values separately: the inputs from 0 on, then the output. An
// output that is float32 anyway is written in place.
std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch);

}  // namespace insightface
