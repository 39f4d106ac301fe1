#include "network/arithmetic/unit_packing.h"

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

#include "network/arithmetic/half_pairs.h"

namespace insightface {
namespace {

// Pairs the numbers of rows 2 p and 2 p + 1 in `width` columns.
INSIGHTFACE_INLINE void PairTwo(const UnitMatrix& matrix, int64_t p, int64_t column, int64_t width, int* pairs) {
  const auto row = [&](int64_t i) { return i < matrix.rows ? matrix.start + i * matrix.step + column : nullptr; };
  Interleave(row(2 * p), row(2 * p + 1), width, pairs);
}

}  // namespace

void PairRows(const UnitMatrix& matrix, BFloat16* to) {
  int* const pairs = reinterpret_cast<int*>(to);
  for (int64_t p = 0; p < matrix.whole_rows / 2; ++p) {
    PairTwo(matrix, p, 0, matrix.columns, pairs + p * matrix.columns);
  }
}

void TransposeRows(const UnitMatrix& matrix, BFloat16* to) {
  constexpr int64_t kWidth = 2 * kPairLanes;
  for (int64_t column = 0; column < matrix.columns; column += kWidth) {
    for (int64_t first = 0; first < matrix.whole_rows / 2; first += kPairLanes) {
      alignas(64) int pairs[kPairLanes][kWidth];
      for (int64_t p = 0; p < kPairLanes; ++p) { PairTwo(matrix, first + p, column, kWidth, pairs[p]); }
      for (int64_t part = 0; part < kWidth; part += kPairLanes) {
        __m512i square[kPairLanes];
        for (int64_t p = 0; p < kPairLanes; ++p) { square[p] = _mm512_load_si512(pairs[p] + part); }
        Transpose(square);
        BFloat16* const rows = to + (column + part) * matrix.whole_rows + 2 * first;
        for (int64_t i = 0; i < kPairLanes; ++i) { _mm512_storeu_si512(rows + i * matrix.whole_rows, square[i]); }
      }
    }
  }
}

}  // namespace insightface

#pragma GCC pop_options

#else

namespace insightface {

void PairRows(const UnitMatrix&, BFloat16*) {}
void TransposeRows(const UnitMatrix&, BFloat16*) {}

}  // namespace insightface

#endif
