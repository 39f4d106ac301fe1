#include "network/arithmetic/winograd_bfloat16_tiles.h"

#include <oneapi/dnnl/dnnl.hpp>

#include "network/arithmetic/winograd_tiles.h"

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

#include "network/arithmetic/filter_taps.h"

namespace insightface {
namespace {

constexpr int64_t kPatch = kHalfPatch, kTile = kHalfTile, kMatrices = kHalfMatrices, kLanes = kHalfLanes;
constexpr int64_t kVector = 16;  // float32 numbers of a register
constexpr int64_t kTaps = 9;

// 32 channels as float32: the even ones, and the odd ones.
struct Pair {
  __m512 even, odd;
};

INSIGHTFACE_INLINE Pair LoadPair(const BFloat16* from) {
  const __m512i both = _mm512_loadu_si512(from);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000))))};
}

INSIGHTFACE_INLINE Pair operator+(const Pair& a, const Pair& b) { return {a.even + b.even, a.odd + b.odd}; }
INSIGHTFACE_INLINE Pair operator-(const Pair& a, const Pair& b) { return {a.even - b.even, a.odd - b.odd}; }

INSIGHTFACE_INLINE void StorePair(const Pair& pair, BFloat16* to) {
  const __m512bh rounded = _mm512_cvtne2ps_pbh(pair.odd, pair.even);
  _mm512_storeu_si512(to, reinterpret_cast<const __m512i&>(rounded));
}

template<int rows>
void MultiplyRows(const BFloat16* a, int64_t inner, const BFloat16* b, float* c, Upcoming::Lines next) {
  __m512 sums[rows][2];
#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row) { sums[row][0] = sums[row][1] = _mm512_setzero_ps(); }
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    const __m512i left = _mm512_loadu_si512(b + i * kLanes), right = _mm512_loadu_si512(b + i * kLanes + kLanes);
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) {
      int two;
      __builtin_memcpy(&two, a + row * inner + i, sizeof(two));
      const __m512i factor = _mm512_set1_epi32(two);
      sums[row][0] = _mm512_dpbf16_ps(sums[row][0], reinterpret_cast<const __m512bh&>(factor),
                                      reinterpret_cast<const __m512bh&>(left));
      sums[row][1] = _mm512_dpbf16_ps(sums[row][1], reinterpret_cast<const __m512bh&>(factor),
                                      reinterpret_cast<const __m512bh&>(right));
    }
  };
  int64_t line = 0;
  for (; line < next.count; ++line) {
    next.Prefetch(line);
    step(2 * line);
  }
  for (int64_t i = 2 * line; i < inner; i += 2) { step(i); }
#pragma GCC unroll 16
  for (int row = 0; row < rows; ++row) {
    _mm512_storeu_ps(c + row * kLanes, sums[row][0]);
    _mm512_storeu_ps(c + row * kLanes + kVector, sums[row][1]);
  }
}

INSIGHTFACE_INLINE __m512 LoadHalves(const BFloat16* from) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// The 16 transformed numbers of 16 filters; the taps of each are `filter_step` numbers apart from those of the next.
INSIGHTFACE_INLINE void TransformTaps(const float* weights, int64_t filter_step, bool mirrored, __m512* matrices) {
  const __m512 half = _mm512_set1_ps(0.5f);
  __m512 all[kTaps], rows[kPatch][3];
  LoadTaps(weights, filter_step, mirrored, all);
  for (int64_t column = 0; column < 3; ++column) {
    const __m512 taps[3] = {all[column], all[3 + column], all[6 + column]};
    const __m512 outer = half * (taps[0] + taps[2]), middle = half * taps[1];
    rows[0][column] = taps[0];
    rows[1][column] = outer + middle;
    rows[2][column] = outer - middle;
    rows[3][column] = taps[2];
  }
  for (int64_t row = 0; row < kPatch; ++row) {
    const __m512 outer = half * (rows[row][0] + rows[row][2]), middle = half * rows[row][1];
    matrices[row * kPatch] = rows[row][0];
    matrices[row * kPatch + 1] = outer + middle;
    matrices[row * kPatch + 2] = outer - middle;
    matrices[row * kPatch + 3] = rows[row][2];
  }
}

}  // namespace

void TransformHalfPatch(const BFloat16* const* pixels, const BFloat16* const* next, int64_t channels,
                        BFloat16* matrices, int64_t step) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    if (next != nullptr) {
      for (int64_t i = 0; i < kMatrices; ++i) { __builtin_prefetch(next[i] + c); }
    }
    Pair rows[kPatch][kPatch];
#pragma GCC unroll 4
    for (int64_t column = 0; column < kPatch; ++column) {
      const Pair x0 = LoadPair(pixels[column] + c), x1 = LoadPair(pixels[kPatch + column] + c);
      const Pair x2 = LoadPair(pixels[2 * kPatch + column] + c), x3 = LoadPair(pixels[3 * kPatch + column] + c);
      rows[0][column] = x0 - x2;
      rows[1][column] = x1 + x2;
      rows[2][column] = x2 - x1;
      rows[3][column] = x1 - x3;
    }
#pragma GCC unroll 4
    for (int64_t row = 0; row < kPatch; ++row) {
      const Pair* const x = rows[row];
      BFloat16* const to = matrices + row * kPatch * step + c;
      StorePair(x[0] - x[2], to);
      StorePair(x[1] + x[2], to + step);
      StorePair(x[2] - x[1], to + 2 * step);
      StorePair(x[1] - x[3], to + 3 * step);
    }
  }
}

void MultiplyHalfPanel(const BFloat16* a, int64_t rows, int64_t inner, const BFloat16* b, float* c,
                       Upcoming::Lines next) {
  switch (rows) {
    case 1: return MultiplyRows<1>(a, inner, b, c, next);
    case 2: return MultiplyRows<2>(a, inner, b, c, next);
    case 3: return MultiplyRows<3>(a, inner, b, c, next);
    case 4: return MultiplyRows<4>(a, inner, b, c, next);
    case 5: return MultiplyRows<5>(a, inner, b, c, next);
    case 6: return MultiplyRows<6>(a, inner, b, c, next);
    case 7: return MultiplyRows<7>(a, inner, b, c, next);
    case 8: return MultiplyRows<8>(a, inner, b, c, next);
    case 9: return MultiplyRows<9>(a, inner, b, c, next);
    case 10: return MultiplyRows<10>(a, inner, b, c, next);
    case 11: return MultiplyRows<11>(a, inner, b, c, next);
    default: return MultiplyRows<12>(a, inner, b, c, next);
  }
}

void TransformHalfProducts(const float* matrices, int64_t step, const HalfTileEpilogue& epilogue,
                           BFloat16* const* pixels) {
  for (int64_t c = 0; c < kLanes; c += kVector) {
    __m512 rows[kTile][kPatch];
#pragma GCC unroll 4
    for (int64_t column = 0; column < kPatch; ++column) {
      const float* const from = matrices + column * step + c;
      const __m512 m1 = _mm512_loadu_ps(from + kPatch * step), m2 = _mm512_loadu_ps(from + 2 * kPatch * step);
      rows[0][column] = _mm512_loadu_ps(from) + m1 + m2;
      rows[1][column] = m1 - m2 - _mm512_loadu_ps(from + 3 * kPatch * step);
    }
    const __m512 bias = epilogue.bias != nullptr ? _mm512_loadu_ps(epilogue.bias + c) : _mm512_setzero_ps();
    const __m512 slope = epilogue.slope != nullptr ? _mm512_loadu_ps(epilogue.slope + c) : _mm512_setzero_ps();
#pragma GCC unroll 2
    for (int64_t row = 0; row < kTile; ++row) {
      const __m512* const x = rows[row];
      const __m512 values[kTile] = {x[0] + x[1] + x[2], x[1] - x[2] - x[3]};
#pragma GCC unroll 2
      for (int64_t column = 0; column < kTile; ++column) {
        const int64_t pixel = row * kTile + column;
        if (pixels[pixel] == nullptr) { continue; }
        __m512 value = values[column] + bias;
        if (epilogue.slope != nullptr) {
          const __mmask16 negative = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_NGT_UQ);
          value = _mm512_mask_mul_ps(value, negative, value, slope);
        }
        if (epilogue.addends != nullptr) { value += LoadHalves(epilogue.addends[pixel] + c); }
        const __m256bh rounded = _mm512_cvtneps_pbh(value);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(pixels[pixel] + c), reinterpret_cast<const __m256i&>(rounded));
      }
    }
  }
}

void TransformHalfFilters(const float* weights, int64_t row, bool reversed, BFloat16* matrices, int64_t step) {
  constexpr int64_t kAhead = 8;  // channels
  const int64_t column_step = reversed ? kTaps : row, inner_step = reversed ? row : kTaps;
  for (int64_t pair = 0; pair < kLanes / 2; ++pair) {
    // The order of channels in TransformHalfPatch: 0, 2, 4, ... 30, 1, 3, ... 31.
    const int64_t first = pair < kLanes / 4 ? 4 * pair : 4 * pair - kLanes + 1;
    // From channel to channel, or from filter to filter, the steps are too wide for the processor to foresee.
    const float* const upcoming = weights + (first + kAhead) * inner_step;
    for (int64_t lane = 0; lane < kVector; ++lane) {
      __builtin_prefetch(upcoming + lane * column_step);
      if (reversed) { __builtin_prefetch(upcoming + 2 * inner_step + lane * column_step); }
    }
    __m512 left[kMatrices], right[kMatrices];
    TransformTaps(weights + first * inner_step, column_step, reversed, left);
    TransformTaps(weights + (first + 2) * inner_step, column_step, reversed, right);
    for (int64_t i = 0; i < kMatrices; ++i) {
      const __m256bh low = _mm512_cvtneps_pbh(left[i]), high = _mm512_cvtneps_pbh(right[i]);
      const __m512i both =
          _mm512_or_si512(_mm512_cvtepu16_epi32(reinterpret_cast<const __m256i&>(low)),
                          _mm512_slli_epi32(_mm512_cvtepu16_epi32(reinterpret_cast<const __m256i&>(high)), 16));
      _mm512_storeu_si512(matrices + i * step + pair * 2 * kLanes, both);
    }
  }
}

}  // namespace insightface

#pragma GCC pop_options

namespace insightface {

bool MultipliesHalfTiles() {
  // With AMX plain sums are faster.
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_fp16: return __builtin_cpu_supports("avx512bf16");
    default: return false;
  }
}

}  // namespace insightface

#else

namespace insightface {

bool MultipliesHalfTiles() { return false; }
void TransformHalfPatch(const BFloat16* const*, const BFloat16* const*, int64_t, BFloat16*, int64_t) {}
void MultiplyHalfPanel(const BFloat16*, int64_t, int64_t, const BFloat16*, float*, Upcoming::Lines) {}
void TransformHalfProducts(const float*, int64_t, const HalfTileEpilogue&, BFloat16* const*) {}
void TransformHalfFilters(const float*, int64_t, bool, BFloat16*, int64_t) {}

}  // namespace insightface

#endif
