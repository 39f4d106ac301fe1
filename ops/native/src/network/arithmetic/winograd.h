// Convolutions of 3x3 filters, stride 1, on channels-last maps that Winograd's filtering suits.
#pragma once

#include <cstdint>
#include <optional>

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

// The gradient of the filters from bfloat16 maps, by F(4x4, 3x3): maps and gradients are transformed into 36 matrices
// each, which are multiplied, and the sums are transformed back. Tiles are processed in blocks that stay in the caches.
// Rounding the matrices to bfloat16 leaves an error of about 1% of the gradient's norm, independent between steps and
// layers, as only the update reads a filter's gradient.
class WinogradFilterGradient {
 public:
  explicit WinogradFilterGradient(const WinogradShape& shape);
  // `gradient` is [filters, channels, 3, 3].
  void Run(const BFloat16* x, const BFloat16* dy, float* gradient, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  void MultiplyShare(const BFloat16* maps, const BFloat16* gradients, bool adds, float* sums, char* scratch) const;

  const WinogradShape shape_;
  const int64_t filters_;  // filters at a time
  const int64_t block_;    // tiles at a time
  // Either those of the matrix unit, or the first and further ones of oneDNN.
  std::optional<UnitProducts> by_unit_;
  std::optional<MatrixProducts> first_, further_;
};

}  // namespace insightface
