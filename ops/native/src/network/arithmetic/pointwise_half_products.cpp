// Products of bfloat16 rows in pairs: one instruction adds two products to each of 16 float32 sums.
#include "network/arithmetic/pointwise_products.h"

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

#include "network/arithmetic/half_lanes.h"
#include "network/arithmetic/half_pairs.h"

namespace insightface {
namespace {

constexpr int kTileRows = 4, kTileVectors = 4;
constexpr int64_t kLanes = 16;  // float32 numbers of a register, or pairs
static_assert(kPanelColumns == kTileVectors * kLanes, "a panel is one tile wide");

// Adds to the sums of a tile: pair (row, k) of the first factor is a[row * row_step + k * inner_step], row k of the second
// begins at b + k * b_step, all counted in pairs.
template<int rows>
INSIGHTFACE_INLINE void AddPairs(const int* a, int64_t row_step, int64_t inner_step, const int* b, int64_t b_step,
                                 int64_t inner, Upcoming::Lines fetch, __m512 (*sums)[kTileVectors]) {
  const auto step = [&](int64_t k) __attribute__((always_inline)) {
    __m512i line[kTileVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) { line[v] = _mm512_loadu_si512(b + k * b_step + v * kLanes); }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m512i pair = _mm512_set1_epi32(a[r * row_step + k * inner_step]);
#pragma GCC unroll 8
      for (int v = 0; v < kTileVectors; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], reinterpret_cast<const __m512bh&>(pair),
                                      reinterpret_cast<const __m512bh&>(line[v]));
      }
    }
  };
  int64_t k = 0;
  for (; k < fetch.count; ++k) {
    fetch.Prefetch(k);
    step(k);
  }
  for (; k < inner; ++k) { step(k); }
}

template<int rows>
void MultiplyTile(int64_t count, const BFloat16* x, int64_t inner, const int* panel,
                  const ProductEpilogue<BFloat16>& epilogue, BFloat16* y, int64_t y_step, Upcoming::Lines fetch) {
  if constexpr (rows > 1) {
    if (count < rows) { return MultiplyTile<rows - 1>(count, x, inner, panel, epilogue, y, y_step, fetch); }
  }
  __m512 sums[rows][kTileVectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) { sums[r][v] = _mm512_setzero_ps(); }
    // The tile below, whose lines may be far.
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; v += 2) { __builtin_prefetch(y + (r + rows) * y_step + v * kLanes, 1); }
  }
  AddPairs<rows>(reinterpret_cast<const int*>(x), inner / 2, 1, panel, kPanelColumns, inner / 2, fetch, sums);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; v += 2) {
      FinishTwo(sums[r][v], sums[r][v + 1], At(epilogue, r * y_step + v * kLanes, v * kLanes), y + r * y_step + v * kLanes);
    }
  }
}

void Multiply(const BFloat16* x, int64_t rows, int64_t inner, const void* packed, int64_t columns,
              const ProductEpilogue<BFloat16>& epilogue, BFloat16* y, Upcoming* upcoming) {
  int64_t tiles = columns / kPanelColumns * ((rows + kTileRows - 1) / kTileRows);
  for (int64_t n = 0; n < columns; n += kPanelColumns) {
    const int* const panel = static_cast<const int*>(packed) + n * (inner / 2);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int64_t place = row * columns + n;
      MultiplyTile<kTileRows>(rows - row, x + row * inner, inner, panel, At(epilogue, place, n), y + place, columns,
                              upcoming->Take(tiles--, inner / 2));
    }
  }
}

template<int rows>
void MultiplyTileToPlanes(int64_t count, const BFloat16* x, int64_t inner, const int* panel, const PlaneSums& to,
                          float* y) {
  if constexpr (rows > 1) {
    if (count < rows) { return MultiplyTileToPlanes<rows - 1>(count, x, inner, panel, to, y); }
  }
  __m512 sums[rows][kTileVectors] = {};
  AddPairs<rows>(reinterpret_cast<const int*>(x), inner / 2, 1, panel, kPanelColumns, inner / 2, {}, sums);
#pragma GCC unroll 8
  for (int v = 0; v < kTileVectors; ++v) {
    const float* const slope = to.slope != nullptr ? to.slope + v * kLanes : nullptr;
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      _mm512_storeu_ps(y + v * to.step + r * kLanes, Activate(sums[r][v], to.bias + v * kLanes, slope));
    }
  }
}

void MultiplyToPlanes(const BFloat16* x, int64_t rows, int64_t inner, const void* packed, int64_t column,
                      const PlaneSums& sums) {
  const int* const panel = static_cast<const int*>(packed) + column * (inner / 2);
  for (int64_t row = 0; row < rows; row += kTileRows) {
    MultiplyTileToPlanes<kTileRows>(rows - row, x + row * inner, inner, panel, sums, sums.planes + row * kLanes);
  }
}

// The pairs of two rows that lie side by side: the first 16 numbers of `halves` with the other 16.
INSIGHTFACE_INLINE __m512i PairHalves(__m512i halves) {
  const __m512i upper = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(halves, 1));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(halves)), _mm512_slli_epi32(upper, 16));
}

void Pack(const WeightMatrix& m, int64_t first, int64_t last, void* packed) {
  for (int64_t column = first; column < last; column += kLanes) {
    const int64_t panel = column / kPanelColumns * kPanelColumns;
    int* const to = static_cast<int*>(packed) + panel * (m.inner / 2) + column - panel;
    if (m.column_step == 1) {
      for (int64_t k = 0; k < m.inner; k += 2) {
        const float* const from = m.weights + k * m.inner_step + column;
        const __m512i halves = RoundTwo(_mm512_loadu_ps(from), _mm512_loadu_ps(from + m.inner_step));
        _mm512_storeu_si512(to + k / 2 * kPanelColumns, PairHalves(halves));
      }
      continue;
    }
    for (int64_t k = 0; k < m.inner; k += 2 * kLanes) {
      __m512i square[kLanes];
      for (int64_t n = 0; n < kLanes; ++n) {
        const float* const from = m.weights + (column + n) * m.column_step + k;
        square[n] = RoundTwo(_mm512_loadu_ps(from), _mm512_loadu_ps(from + kLanes));
      }
      Transpose(square);
      for (int64_t i = 0; i < kLanes; ++i) { _mm512_storeu_si512(to + (k / 2 + i) * kPanelColumns, square[i]); }
    }
  }
}

void AddOuterTile(const int* dy, int64_t filters, const int* x, int64_t channels, int64_t pairs, float* to,
                  Upcoming::Lines fetch) {
  __m512 sums[kTileRows][kTileVectors];
#pragma GCC unroll 8
  for (int f = 0; f < kTileRows; ++f) {
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) { sums[f][v] = _mm512_loadu_ps(to + f * channels + v * kLanes); }
  }
  AddPairs<kTileRows>(dy, 1, filters, x, channels, pairs, fetch, sums);
#pragma GCC unroll 8
  for (int f = 0; f < kTileRows; ++f) {
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) { _mm512_storeu_ps(to + f * channels + v * kLanes, sums[f][v]); }
  }
}

void AddOuter(const BFloat16* dy, const BFloat16* x, int64_t rows, int64_t filters, int64_t channels, float* sums,
              void* scratch, Upcoming* upcoming) {
  int* const dy_pairs = static_cast<int*>(scratch);
  int* const x_pairs = dy_pairs + kHalfOuterRows / 2 * filters;
  // Parts of equally many rows, an even number.
  const int64_t parts = (rows + kHalfOuterRows - 1) / kHalfOuterRows, most = (rows + 2 * parts - 1) / (2 * parts) * 2;
  int64_t tiles = channels / kPanelColumns * (filters / kTileRows) * parts;
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t last = first + most < rows ? first + most : rows;
    int64_t pairs = 0;
    for (int64_t row = first; row < last; row += 2, ++pairs) {
      const bool two = row + 1 < last;
      Interleave(dy + row * filters, two ? dy + (row + 1) * filters : nullptr, filters, dy_pairs + pairs * filters);
      Interleave(x + row * channels, two ? x + (row + 1) * channels : nullptr, channels, x_pairs + pairs * channels);
    }
    for (int64_t c = 0; c < channels; c += kPanelColumns) {
      for (int64_t f = 0; f < filters; f += kTileRows) {
        AddOuterTile(dy_pairs + f, filters, x_pairs + c, channels, pairs, sums + f * channels + c,
                     upcoming->Take(tiles--, pairs));
      }
    }
  }
}

}  // namespace

const PointwiseProducts<BFloat16> kPointwiseHalfProducts = {Pack, Multiply, AddOuter, MultiplyToPlanes, kPanelColumns};

}  // namespace insightface

#pragma GCC pop_options

#else

namespace insightface {

const PointwiseProducts<BFloat16> kPointwiseHalfProducts = {nullptr, nullptr, nullptr, nullptr, kPanelColumns};

}  // namespace insightface

#endif
