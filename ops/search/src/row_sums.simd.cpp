#include "row_sums.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kLine = 16;  // numbers of a cache line
// Rows of NumPy's arrays begin anywhere.
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));

// A line of `later` is prefetched between two lines of `row`, into the second cache: many prefetches in a row, or into
// the first cache, wait for each other.
__attribute__((optimize("fp-contract=off"))) void Add(const float* __restrict row, float factor, const float* later,
                                                      int64_t width, float* __restrict sum) {
  int64_t start = 0;
  __builtin_prefetch(later + width - 1, 0, 2);  // a row that does not begin with a line ends in one more
  for (; start + kLine <= width; start += kLine) {
    __builtin_prefetch(later + start, 0, 2);
#pragma GCC unroll 4
    for (int64_t i = start; i < start + kLine; i += kLanes) {
      *reinterpret_cast<Vector*>(sum + i) += factor * *reinterpret_cast<const Vector*>(row + i);
    }
  }
  for (; start < width; ++start) { sum[start] += factor * row[start]; }
}

__attribute__((optimize("fp-contract=off"))) void AddMean(float* __restrict total, float count, int64_t width,
                                                          float* __restrict sum) {
  for (int64_t i = 0; i < width; ++i) {
    sum[i] += total[i] / count;
    total[i] = 0;
  }
}

}  // namespace

const RowSums kRowSums = {Add, AddMean};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
