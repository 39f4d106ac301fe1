// Convolutions of 3x3 filters, stride 2, on channels-last float32 maps by Winograd's filtering (strided_tiles.h), and
// their gradients, for AVX-512 registers.
#pragma once

#include <cstdint>

#include "network/arithmetic/strided_blocks.h"
#include "network/arithmetic/tile_blocks.h"
#include "network/arithmetic/winograd.h"

namespace insightface {

// Whether this processor can compute it, and faster than in other ways. The padding is 1.
bool SuitsStridedWinograd(const WinogradShape& shape);

// The convolution, or, `reversed`, the one from the gradient of its output to that of its input. Each thread takes blocks
// of tiles through both transforms and the products between them.
class StridedConvolution {
 public:
  StridedConvolution(const WinogradShape& shape, bool reversed);
  // `weights` is [filters, channels, 3, 3]. The reversed one adds to `y` if asked to.
  void Run(const float* weights, const float* x, bool adds, float* y, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  int64_t FiltersBytes(int64_t columns) const;
  int64_t ColumnsAtATime() const;
  void TransformFilters(const float* weights, int64_t first, int64_t count, float* matrices) const;
  void RunColumns(const float* x, const float* filters, int64_t first, int64_t count, bool adds, float* y,
                  char* scratch) const;
  void TransformMaps(const TileBlock& block, const float* x, const float* zeros, float* maps,
                     StridedCounts* entries) const;
  void TransformProducts(const TileBlock& block, const float* products, int64_t column, bool adds, float* y) const;

  const WinogradShape shape_;
  const bool reversed_;
  const int64_t inner_, columns_;  // channels of what it reads and of what it writes
  const TileGrid grid_;            // of the output of the convolution
  const int64_t block_;            // tiles, at most
  const StridedPlaces maps_, products_;
  const int64_t filters_step_;  // numbers between consecutive matrices
};

class StridedFilterGradient {
 public:
  explicit StridedFilterGradient(const WinogradShape& shape);
  // `gradient` is [filters, channels, 3, 3].
  void Run(const float* x, const float* dy, float* gradient, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  // The transforms of the tiles of a block: [channels / 16] times the matrices of 16 channels.
  struct Matrices {
    float* maps;
    float* gradients;
    float* sums;  // [36, channels, filters_]
  };
  void Transform(const TileBlock& block, const float* x, const float* dy, int64_t filter, const float* zeros,
                 const Matrices& matrices) const;
  void Multiply(const TileBlock& block, bool adds, const Matrices& matrices) const;

  const WinogradShape shape_;
  const TileGrid grid_;
  const int64_t filters_;         // filters at a time
  const int64_t blocks_, block_;  // of tiles; the tiles of one, at most
  const StridedPlaces places_;
  const int64_t sums_step_;  // numbers between consecutive matrices
};

}  // namespace insightface
