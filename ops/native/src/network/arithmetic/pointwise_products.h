// Products of a block of rows with a matrix of weights, forward and backward, for one thread. A tile of the result stays
// in registers while the kernel runs along the inner dimension, and what the thread needs next is prefetched meanwhile.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"
#include "network/arithmetic/upcoming.h"

namespace insightface {

// Columns of a packed matrix lie in panels of this many, or of a divisor of it.
constexpr int64_t kPanelColumns = 64;

constexpr int64_t RoundToPanel(int64_t columns) {
  return (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
}

// The bytes of a packed matrix [inner, columns], of either type at most.
constexpr int64_t PackedBytes(int64_t inner, int64_t columns) {
  return inner * RoundToPanel(columns) * static_cast<int64_t>(sizeof(float));
}

// A matrix b [inner, columns] within the weights [filters, channels].
struct WeightMatrix {
  const float* weights;
  int64_t inner, columns;
  int64_t inner_step, column_step;  // b[k][n] = weights[k * inner_step + n * column_step]; one of them is 1
};

// What Multiply does with a product before it is written: y = PReLU(product + bias) + addend, each part that is not null.
template<typename T>
struct ProductEpilogue {
  bool adds = false;  // the product to what y holds; without the other parts
  const float* bias = nullptr;   // [columns]
  const float* slope = nullptr;  // [columns]; only with a bias
  const T* addend = nullptr;     // [rows, columns]; only with a bias
};

// The epilogue for the tile that begins at a place of y.
template<typename T>
INSIGHTFACE_INLINE ProductEpilogue<T> At(const ProductEpilogue<T>& e, int64_t place, int64_t column) {
  return {e.adds, e.bias != nullptr ? e.bias + column : nullptr, e.slope != nullptr ? e.slope + column : nullptr,
          e.addend != nullptr ? e.addend + place : nullptr};
}

// Where MultiplyToPlanes writes PReLU(product + bias): each vector of columns has a plane, in which the rows lie one
// behind the other. The planes begin `step` numbers apart, bias and slope, which may be null, with the first column.
struct PlaneSums {
  const float* bias;
  const float* slope;
  float* planes;
  int64_t step;
};

// MultiplyToPlanes may write this many rows behind the last one, numbers without a meaning.
constexpr int64_t kRowsBehindPlane = 31;

template<typename T>
struct PointwiseProducts {
  // Packs the columns from `first` to `last`, of which `first` is a multiple of kPanelColumns, for Multiply.
  void (*Pack)(const WeightMatrix& matrix, int64_t first, int64_t last, void* packed);
  // y [rows, columns] = x [rows, inner] b; `packed` is b.
  void (*Multiply)(const T* x, int64_t rows, int64_t inner, const void* packed, int64_t columns,
                   const ProductEpilogue<T>& epilogue, T* y, Upcoming* upcoming);
  // sums [filters, channels] += dy [rows, filters]^T x [rows, channels]; `scratch` has OuterScratchBytes.
  void (*AddOuter)(const T* dy, const T* x, int64_t rows, int64_t filters, int64_t channels, float* sums,
                   void* scratch, Upcoming* upcoming);
  // `plane_columns` columns of PReLU(x b + bias), from `column` on, a multiple of them: float32 planes for a depthwise
  // convolution.
  void (*MultiplyToPlanes)(const T* x, int64_t rows, int64_t inner, const void* packed, int64_t column,
                           const PlaneSums& sums);
  int64_t plane_columns;  // a divisor of kPanelColumns
};
INSIGHTFACE_LOOPS(PointwiseProducts<float>, kPointwiseProducts)

// The same of bfloat16 numbers, for channels and filters that are multiples of kPanelColumns: by products of pairs, for
// processors on which MultipliesHalfTiles() of winograd_bfloat16_tiles.h is true, or by the matrix unit, for those that
// have one.
extern const PointwiseProducts<BFloat16> kPointwiseHalfProducts, kPointwiseUnitProducts;

// Whether this processor can compute either; and the ones that it computes faster.
bool HasHalfProducts();
const PointwiseProducts<BFloat16>& HalfProducts();

// The most rows that AddOuter of bfloat16 takes together: a whole block of a row group, in whole tiles of the matrix unit.
constexpr int64_t kHalfOuterRows = 288;
// The most channels and filters of the products by the matrix unit: a layer has at most 64 * 1024 weights, and at least
// 64 of each.
constexpr int64_t kUnitMostInner = 1024;

template<typename T>
constexpr int64_t OuterScratchBytes(int64_t filters, int64_t channels) {
  return kTypeOf<T> == NumberType::kFloat32 ? 0 : kHalfOuterRows * (filters + channels) * 2;
}

}  // namespace insightface
