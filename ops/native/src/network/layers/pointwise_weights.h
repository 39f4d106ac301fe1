// What the layers of 1x1 convolutions share: which products there are, and weights packed for them.
#pragma once

#include "base/parallel.h"
#include "network/arithmetic/pointwise_products.h"
#include "network/layers/conv_layer.h"
#include "network/layers/folding.h"

namespace insightface {

template<typename T>
const PointwiseProducts<T>& PointwiseProductsOf() {
  if constexpr (kTypeOf<T> == NumberType::kFloat32) {
    return kPointwiseProducts;
  } else {
    return HalfProducts();
  }
}

inline bool IsPointwise(const ConvGeometry& geometry) {
  return geometry.kernel == 1 && geometry.stride == 1 && geometry.pad == 0 && geometry.groups == 1;
}

// Whether there are products of this type for these numbers of channels and filters.
inline bool HasProducts(NumberType type, int64_t channels, int64_t filters) {
  if (type == NumberType::kFloat32) { return true; }
  return HasHalfProducts() && channels % kPanelColumns == 0 && filters % kPanelColumns == 0;
}

// So many weights stay in the second level cache beside a block of rows.
constexpr int64_t kMostCachedWeights = 64 * 1024;

template<typename T>
void PackWeights(const WeightMatrix& matrix, void* packed) {
  ParallelRows(RoundToPanel(matrix.columns) / kPanelColumns, [&](int64_t begin, int64_t end, int) {
    PointwiseProductsOf<T>().Pack(matrix, begin * kPanelColumns, end * kPanelColumns, packed);
  });
}

// Packs the weights [filters, channels] of an inference.
template<typename T>
FoldedWeights::ToInner PackedFilters(int64_t channels, int64_t filters) {
  return [channels, filters](const float* plain, char* packed) {
    PackWeights<T>({plain, channels, filters, 1, channels}, packed);
  };
}

}  // namespace insightface
