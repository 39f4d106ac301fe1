// Runs layers that multiply bfloat16 maps on a processor without bfloat16 products.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "network/layers/layer.h"

namespace insightface {

// Whether oneDNN multiplies bfloat16 here: from AVX-512 on.
bool MultipliesBFloat16();

// The images whose float32 copies a widened layer holds at a time: a divisor of the batch.
int64_t ImagesAtATime(const std::vector<Value>& in, const Value& out, int64_t batch);

// Returns a layer that computes `inner`, which takes `piece` images, in float32, one piece of the batch after the
// other: it widens the maps and gradients that `inner` reads into scratch memory and rounds those it writes. `inner`
// numbers its values separately: the inputs from 0 on, then the output. An output that is float32 anyway is written in
// place. `counts` are the numbers in each parameter whose gradient `inner` writes; if it takes the whole batch, empty.
std::unique_ptr<Layer> WidenLayer(std::unique_ptr<Layer> inner, const std::vector<int>& inputs, int output,
                                  const std::vector<Value>& in, const Value& out, int64_t batch, int64_t piece,
                                  const std::map<int, int64_t>& counts);

}  // namespace insightface
