// Numbers of products in AVX-512 registers, and as bfloat16 in memory. Include it where a pragma compiles for avx512bf16,
// after immintrin.h.
#pragma once

#include <cstdint>

#include "network/arithmetic/pointwise_products.h"

namespace insightface {

INSIGHTFACE_INLINE __m512 Widen(const BFloat16* from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

INSIGHTFACE_INLINE __m512i RoundTwo(__m512 first, __m512 second) {
  const __m512bh rounded = _mm512_cvtne2ps_pbh(second, first);
  return reinterpret_cast<const __m512i&>(rounded);
}

INSIGHTFACE_INLINE void StoreTwo(__m512 first, __m512 second, BFloat16* to) {
  _mm512_storeu_si512(to, RoundTwo(first, second));
}

// PReLU(value + bias); no slope if it is null.
INSIGHTFACE_INLINE __m512 Activate(__m512 value, const float* bias, const float* slope) {
  value += _mm512_loadu_ps(bias);
  if (slope != nullptr) { value = value > 0.0f ? value : value * _mm512_loadu_ps(slope); }
  return value;
}

// PReLU(value + bias) + addend.
INSIGHTFACE_INLINE __m512 Finish(__m512 value, const ProductEpilogue<BFloat16>& epilogue, int64_t column,
                                 const BFloat16* addend) {
  value = Activate(value, epilogue.bias + column, epilogue.slope != nullptr ? epilogue.slope + column : nullptr);
  return addend != nullptr ? value + Widen(addend) : value;
}

// Writes the numbers of two registers of a product, which lie side by side, with the epilogue of the first of them.
INSIGHTFACE_INLINE void FinishTwo(__m512 first, __m512 second, const ProductEpilogue<BFloat16>& epilogue, BFloat16* to) {
  constexpr int64_t kNext = 16;
  if (epilogue.adds) {
    first += Widen(to);
    second += Widen(to + kNext);
  } else if (epilogue.bias != nullptr) {
    first = Finish(first, epilogue, 0, epilogue.addend);
    second = Finish(second, epilogue, kNext, epilogue.addend != nullptr ? epilogue.addend + kNext : nullptr);
  }
  StoreTwo(first, second, to);
}

}  // namespace insightface
