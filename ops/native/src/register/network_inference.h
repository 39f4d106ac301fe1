// Inference by a network, shared by the op and by a call past OneFlow, and the table by which both find arrays.
#pragma once

#include <cstdint>

#include "network/plan/network.h"

namespace insightface {

// What the input "memory" of an op refers to: it holds the address of one of these per rank, as a double, which holds every
// address exactly. Ops with this input have no inputs "parameters" and "moving", of which a graph would compile one
// operation for each array.
struct ArrayTable {
  char* block;                // of a training, else null
  Updates* updates;           // of a training that updates parameters within Backward, else null
  int64_t parameter_numbers;  // of all parameters together
  int64_t version;            // of inference, see NetworkMemory
  int64_t parameters, moving;  // how many of each
  float* arrays[];  // parameters, then moving, in the order of the description

  void AddTo(NetworkMemory* memory) const {
    float* const* const first_moving = arrays + parameters;
    memory->parameters.assign(arrays, first_moving);
    memory->moving.assign(first_moving, first_moving + moving);
    memory->arrays_version = version;
  }
};

inline NumberType TypeOf(bool bfloat16) { return bfloat16 ? NumberType::kBFloat16 : NumberType::kFloat32; }

// Embeds the images of `memory`, key.batch of them with `image_bytes` each, some at a time: a small network takes few, so
// that the maps stay in the caches; a large one takes all, as it would read its weights again for every portion.
// `numbers` is the size of all parameters. Runs on the team.
void InferInPortions(NetworkKey key, int64_t numbers, int64_t image_bytes, NetworkMemory memory);

}  // namespace insightface
