// Layers with products between bfloat16 maps, on a processor that does not multiply bfloat16.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

// Whether oneDNN multiplies bfloat16 here: from AVX-512 on.
bool MultipliesBFloat16();

// Computes `inner` in float32: the maps and gradients it reads are widened into scratch memory before, those it writes
// are rounded after. `inner` has numbers of its own for its values, the inputs from 0 on and then the output. An output
// that is float32 in any case is written where it belongs.
std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch);

}  // namespace insightface
