// Convolutions of 3x3 filters, stride 1, on channels-last maps by Winograd's F(4x4, 3x3): maps and filters are
// transformed into 36 matrices each, oneDNN multiplies them, and the products are transformed back. Tiles are processed
// in blocks that stay in the caches.
#pragma once

#include <cstdint>
#include <optional>

#include "base/prepared.h"
#include "network/arithmetic/matrix_products.h"
#include "network/arithmetic/unit_products.h"
#include "network/arithmetic/value.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {

// A batch of maps [height, width, channels] becomes one of filters channels.
struct WinogradShape {
  int64_t batch;
  ValueShape in, out;
  int64_t pad;

  // The shape of the convolution from the gradient of the output to that of the input.
  WinogradShape Reversed() const { return {batch, out, in, 2 - pad}; }
  int64_t TileRows() const { return (out.height + kWinogradTile - 1) / kWinogradTile; }
  int64_t TileColumns() const { return (out.width + kWinogradTile - 1) / kWinogradTile; }
  int64_t Tiles() const { return batch * TileRows() * TileColumns(); }
};

// Whether Winograd's filtering is faster: channels fill the vectors, and there are many tiles per filter.
bool SuitsWinograd(const WinogradShape& shape);

// The transformed filters of a convolution, [36, in channels, out channels].
class WinogradFilters {
 public:
  // `reversed`: for the convolution of the input's gradient.
  WinogradFilters(int64_t filters, int64_t channels, bool reversed)
      : filters_(filters), channels_(channels), reversed_(reversed) {}
  // `weights` is [filters, channels, 3, 3].
  void Transform(const float* weights, float* matrices) const;
  int64_t MatricesBytes() const;

 private:
  const int64_t filters_, channels_;
  const bool reversed_;
};

// Operations on the result of a convolution; a null pointer omits the operation.
struct WinogradEpilogue {
  const float* bias;
  const float* slope;
  const float* addend;  // a batch of maps like the result; may be the result's memory
};

class WinogradConvolution {
 public:
  explicit WinogradConvolution(const WinogradShape& shape);
  void Run(const float* x, const float* filters, const WinogradEpilogue& epilogue, float* y, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  const WinogradShape shape_;
  const int64_t block_;
  const MatrixProducts products_;
};

// On float32 or bfloat16 maps. Rounding the matrices to bfloat16 leaves an error of about 1% of the gradient's norm,
// independent between steps and layers, as only the update reads a filter's gradient.
template<typename T>
class WinogradFilterGradient {
 public:
  explicit WinogradFilterGradient(const WinogradShape& shape);
  // `gradient` is [filters, channels, 3, 3].
  void Run(const T* x, const T* dy, float* gradient, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  void MultiplyShare(const T* maps, const T* gradients, bool adds, float* sums, char* scratch) const;

  const WinogradShape shape_;
  const int64_t filters_;  // filters at a time
  const int64_t block_;    // tiles at a time
  // Either those of the matrix unit, or the first and further ones of oneDNN.
  std::optional<UnitProducts> by_unit_;
  std::optional<MatrixProducts> first_, further_;
};

}  // namespace insightface
