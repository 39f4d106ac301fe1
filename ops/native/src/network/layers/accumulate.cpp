#include "network/layers/accumulate.h"

#include "base/call_counts.h"

namespace insightface {
namespace {

template<typename From, typename To>
inline __attribute__((always_inline)) void ConvertRangeOf(const From* from, To* to, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { Store(Load(from[i]), to + i); }
}

// Compiled per instruction set only where other files cannot see them: their calls would not find the right one.
INSIGHTFACE_VECTORISED void AddRangeClone(BFloat16* sum, const BFloat16* addend, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { Store(Load(sum[i]) + Load(addend[i]), sum + i); }
}
INSIGHTFACE_VECTORISED void ConvertRange(const float* from, BFloat16* to, int64_t count) {
  ConvertRangeOf(from, to, count);
}
INSIGHTFACE_VECTORISED void ConvertRange(const BFloat16* from, float* to, int64_t count) {
  ConvertRangeOf(from, to, count);
}
void ConvertRange(const float* from, float* to, int64_t count) { std::memcpy(to, from, count * sizeof(float)); }
void ConvertRange(const BFloat16* from, BFloat16* to, int64_t count) { std::memcpy(to, from, count * 2); }

template<typename From, typename To>
void ConvertInParallel(const From* from, To* to, int64_t count) {
  ParallelRows(count, [&](int64_t begin, int64_t end, int) { ConvertRange(from + begin, to + begin, end - begin); });
}

}  // namespace

void AddRange(BFloat16* sum, const BFloat16* addend, int64_t count) { AddRangeClone(sum, addend, count); }

void AddInto(BFloat16* sum, const BFloat16* addend, int64_t count) {
  ParallelRows(count, [&](int64_t begin, int64_t end, int) { AddRange(sum + begin, addend + begin, end - begin); });
}

void Convert(const float* from, BFloat16* to, int64_t count) { ConvertInParallel(from, to, count); }
void Convert(const BFloat16* from, float* to, int64_t count) { ConvertInParallel(from, to, count); }
void Convert(const float* from, float* to, int64_t count) { ConvertInParallel(from, to, count); }
void Convert(const BFloat16* from, BFloat16* to, int64_t count) { ConvertInParallel(from, to, count); }

}  // namespace insightface
