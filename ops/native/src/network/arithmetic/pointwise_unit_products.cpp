// Products of bfloat16 rows by the matrix unit.
#include <algorithm>
#include <cstring>

#include "network/arithmetic/matrix_unit.h"
#include "network/arithmetic/pointwise_products.h"
#include "network/arithmetic/unit_packing.h"
#include "network/arithmetic/winograd_bfloat16_tiles.h"

namespace insightface {
namespace {

constexpr int64_t kUnitPlane = kUnitColumns / 2;  // columns

}  // namespace
}  // namespace insightface

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

#include "network/arithmetic/half_lanes.h"

namespace insightface {
namespace {

// Writes `rows` rows of a product of 32 columns with their epilogue.
void Finish(const float* product, int64_t rows, const ProductEpilogue<BFloat16>& epilogue, BFloat16* y, int64_t y_step) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* const row = product + r * kUnitColumns;
    FinishTwo(_mm512_loadu_ps(row), _mm512_loadu_ps(row + kUnitColumns / 2), At(epilogue, r * y_step, 0), y + r * y_step);
  }
}

// PReLU of `rows` rows of a plane.
void ApplySlope(int64_t rows, const float* slope, float* plane) {
  const __m512 factor = _mm512_loadu_ps(slope), zero = _mm512_setzero_ps();
  for (int64_t r = 0; r < rows; ++r) {
    float* const row = plane + r * kUnitPlane;
    const __m512 value = _mm512_loadu_ps(row);
    _mm512_storeu_ps(row, _mm512_mask_mul_ps(value, _mm512_cmp_ps_mask(value, zero, _CMP_NGT_UQ), value, factor));
  }
}

}  // namespace
}  // namespace insightface

#pragma GCC pop_options

#else

namespace insightface {
namespace {

void Finish(const float*, int64_t, const ProductEpilogue<BFloat16>&, BFloat16*, int64_t) {}
void ApplySlope(int64_t, const float*, float*) {}

}  // namespace
}  // namespace insightface

#endif

namespace insightface {
namespace {

void Pack(const WeightMatrix& matrix, int64_t first, int64_t last, void* packed) {
  kPointwiseHalfProducts.Pack(matrix, first, last, packed);
}

INSIGHTFACE_INLINE void PrefetchAll(Upcoming::Lines lines) {
  for (int64_t line = 0; line < lines.count; ++line) { lines.Prefetch(line); }
}

// The rows of a product's first factor, for the unit, which reads 32 rows at a time: what it makes of those that are not
// there is not used.
class UnitBlocks {
 public:
  UnitBlocks(const BFloat16* x, int64_t rows, int64_t inner) : x_(x), rows_(rows), inner_(inner) {
    const int64_t whole = rows / kUnitRows * kUnitRows, rest = rows - whole;
    if (rest == 0) { return; }
    std::memcpy(last_, x + whole * inner, rest * inner * sizeof(*last_));
    std::fill(last_ + rest * inner, last_ + kUnitRows * inner, BFloat16{});
  }

  UnitFactor At(int64_t row) const { return {rows_ - row < kUnitRows ? last_ : x_ + row * inner_, inner_}; }

 private:
  const BFloat16* const x_;
  const int64_t rows_, inner_;
  alignas(64) BFloat16 last_[kUnitRows * kUnitMostInner];
};

// The 32 columns of packed weights from `column` on.
UnitFactor PackedColumns(const void* packed, int64_t inner, int64_t column) {
  const int64_t panel = column / kPanelColumns * kPanelColumns;
  return {static_cast<const BFloat16*>(packed) + panel * inner + 2 * (column - panel), kPanelColumns};
}

void Multiply(const BFloat16* x, int64_t rows, int64_t inner, const void* packed, int64_t columns,
              const ProductEpilogue<BFloat16>& epilogue, BFloat16* y, Upcoming* upcoming) {
  alignas(64) float product[kUnitRows * kUnitColumns];
  const UnitBlocks blocks(x, rows, inner);
  const MatrixUnit unit;
  int64_t parts = (rows + kUnitRows - 1) / kUnitRows * (columns / kUnitColumns);
  for (int64_t row = 0; row < rows; row += kUnitRows) {
    const int64_t count = std::min(rows - row, kUnitRows);
    for (int64_t column = 0; column < columns; column += kUnitColumns) {
      const int64_t place = row * columns + column;
      MultiplyByUnit(blocks.At(row), PackedColumns(packed, inner, column), inner, {}, {product, kUnitColumns},
                     upcoming->Take(parts--, inner));
      Finish(product, count, At(epilogue, place, column), y + place, columns);
    }
  }
}

void MultiplyToPlanes(const BFloat16* x, int64_t rows, int64_t inner, const void* packed, int64_t column,
                      const PlaneSums& sums) {
  const UnitBlocks blocks(x, rows, inner);
  const UnitFactor factor = PackedColumns(packed, inner, column);
  const MatrixUnit unit;
  for (int64_t row = 0; row < rows; row += kUnitRows) {
    float* const left = sums.planes + row * kUnitPlane;
    MultiplyByUnit(blocks.At(row), factor, inner, {sums.bias}, {left, kUnitPlane, sums.step});
    if (sums.slope == nullptr) { continue; }
    for (int64_t p = 0; p < kUnitColumns / kUnitPlane; ++p) {
      ApplySlope(std::min(rows - row, kUnitRows), sums.slope + p * kUnitPlane, left + p * sums.step);
    }
  }
}

void AddOuter(const BFloat16* dy, const BFloat16* x, int64_t rows, int64_t filters, int64_t channels, float* sums,
              void* scratch, Upcoming* upcoming) {
  BFloat16* const transposed = static_cast<BFloat16*>(scratch);
  BFloat16* const pairs = transposed + kHalfOuterRows * filters;
  const MatrixUnit unit;
  int64_t parts = (rows + kHalfOuterRows - 1) / kHalfOuterRows * (filters / kUnitRows);
  for (int64_t first = 0; first < rows; first += kHalfOuterRows) {
    const int64_t count = std::min(rows - first, kHalfOuterRows);
    const int64_t whole = (count + kUnitInner - 1) / kUnitInner * kUnitInner;
    TransposeRows({dy + first * filters, count, filters, filters, whole}, transposed);
    PairRows({x + first * channels, count, channels, channels, whole}, pairs);
    for (int64_t f = 0; f < filters; f += kUnitRows) {
      PrefetchAll(upcoming->Take(parts--, whole * channels / kUnitColumns));
      for (int64_t c = 0; c < channels; c += kUnitColumns) {
        float* const to = sums + f * channels + c;
        MultiplyByUnit({transposed + f * whole, whole}, {pairs + 2 * c, channels}, whole, {to, channels},
                       {to, channels});
      }
    }
  }
}

}  // namespace

const PointwiseProducts<BFloat16> kPointwiseUnitProducts = {Pack, Multiply, AddOuter, MultiplyToPlanes, kUnitColumns};

bool HasHalfProducts() { return MultipliesHalfTiles() || HasMatrixUnit(); }

const PointwiseProducts<BFloat16>& HalfProducts() {
  return HasMatrixUnit() ? kPointwiseUnitProducts : kPointwiseHalfProducts;
}

}  // namespace insightface
