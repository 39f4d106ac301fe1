// Pairs of bfloat16 numbers in AVX-512 registers. Include it where a pragma compiles for avx512f and avx512bw, after
// immintrin.h.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

constexpr int64_t kPairLanes = 16;  // pairs of a register

// Interleaves the numbers of two rows [width], a multiple of 32; a row that is null is one of zeros.
INSIGHTFACE_INLINE void Interleave(const BFloat16* upper, const BFloat16* lower, int64_t width, int* pairs) {
  const __m512i zero = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 2 * kPairLanes) {
    const __m512i a = upper != nullptr ? _mm512_loadu_si512(upper + i) : zero;
    const __m512i b = lower != nullptr ? _mm512_loadu_si512(lower + i) : zero;
    // Interleaved within 128 bits, whose parts 0 1 2 3 then stand in both results.
    const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(pairs + i, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(pairs + i + kPairLanes, _mm512_permutex2var_epi64(low, second, high));
  }
}

// Transposes a square of pairs: each pass interleaves the halves of the list.
INSIGHTFACE_INLINE void Transpose(__m512i* rows) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(kPairLanes / 2));
  for (int64_t pass = 1; pass < kPairLanes; pass *= 2) {
    __m512i next[kPairLanes];
    for (int64_t i = 0; i < kPairLanes / 2; ++i) {
      next[2 * i] = _mm512_permutex2var_epi32(rows[i], low, rows[i + kPairLanes / 2]);
      next[2 * i + 1] = _mm512_permutex2var_epi32(rows[i], high, rows[i + kPairLanes / 2]);
    }
    for (int64_t i = 0; i < kPairLanes; ++i) { rows[i] = next[i]; }
  }
}

}  // namespace insightface
