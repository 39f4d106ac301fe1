// Loops along whole arrays, on the calling thread; arrays.h has them for the whole team.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

// HashBlocks mixes a block of kHashLanes numbers into as many independent lanes.
constexpr int64_t kHashLanes = 8;
constexpr uint64_t kHashPrime = 0x9e3779b97f4a7c15ULL;

INSIGHTFACE_INLINE uint64_t MixHash(uint64_t hash, uint64_t number) {
  hash = (hash ^ number) * kHashPrime;
  return hash ^ (hash >> 29);
}

struct ArrayLoops {
  // sum += addend
  void (*AddFloats)(float* sum, const float* addend, int64_t count);
  void (*AddBFloat16s)(BFloat16* sum, const BFloat16* addend, int64_t count);
  // From one number type to the other.
  void (*Round)(const float* from, BFloat16* to, int64_t count);
  void (*Widen)(const BFloat16* from, float* to, int64_t count);
  // Hashes blocks of kHashLanes 64-bit numbers.
  void (*HashBlocks)(const char* bytes, int64_t blocks, uint64_t* lanes);
};
INSIGHTFACE_LOOPS(ArrayLoops, kArrayLoops)

}  // namespace insightface
