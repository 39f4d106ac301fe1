// Sums and conversions of arrays of both number types.
#pragma once

#include <cstdint>

#include "base/array_loops.h"

namespace insightface {

// sum += addend, on the calling thread alone.
inline void AddRange(float* sum, const float* addend, int64_t count) { kArrayLoops.AddFloats(sum, addend, count); }
inline void AddRange(BFloat16* sum, const BFloat16* addend, int64_t count) {
  kArrayLoops.AddBFloat16s(sum, addend, count);
}

// sum += addend, by the team.
void AddInto(float* sum, const float* addend, int64_t count);
void AddInto(BFloat16* sum, const BFloat16* addend, int64_t count);

// Copies between the number types, by the team.
void Convert(const float* from, BFloat16* to, int64_t count);
void Convert(const BFloat16* from, float* to, int64_t count);
void Convert(const float* from, float* to, int64_t count);
void Convert(const BFloat16* from, BFloat16* to, int64_t count);

}  // namespace insightface
