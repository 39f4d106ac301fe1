#include "base/arrays.h"

#include <cstring>

#include "base/parallel.h"

namespace insightface {
namespace {

template<typename T>
void AddInParallel(T* sum, const T* addend, int64_t count) {
  ParallelRows(count, [&](int64_t begin, int64_t end, int) { AddRange(sum + begin, addend + begin, end - begin); });
}

template<typename From, typename To>
void ConvertInParallel(void (*convert)(const From*, To*, int64_t), const From* from, To* to, int64_t count) {
  ParallelRows(count, [&](int64_t begin, int64_t end, int) { convert(from + begin, to + begin, end - begin); });
}

template<typename T>
void Copy(const T* from, T* to, int64_t count) {
  std::memcpy(to, from, count * sizeof(T));
}

}  // namespace

void AddInto(float* sum, const float* addend, int64_t count) { AddInParallel(sum, addend, count); }
void AddInto(BFloat16* sum, const BFloat16* addend, int64_t count) { AddInParallel(sum, addend, count); }

void Convert(const float* from, BFloat16* to, int64_t count) { ConvertInParallel(kArrayLoops.Round, from, to, count); }
void Convert(const BFloat16* from, float* to, int64_t count) { ConvertInParallel(kArrayLoops.Widen, from, to, count); }
void Convert(const float* from, float* to, int64_t count) { ConvertInParallel(Copy<float>, from, to, count); }
void Convert(const BFloat16* from, BFloat16* to, int64_t count) { ConvertInParallel(Copy<BFloat16>, from, to, count); }

}  // namespace insightface
