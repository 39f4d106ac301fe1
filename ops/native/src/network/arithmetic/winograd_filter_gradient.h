// The gradient of 3x3 filters, stride 1, on channels-last float32 maps by Winograd's F(4x4, 3x3), for AVX-512 registers:
// the maps and the gradients of the outputs are transformed into 36 matrices each, whose products are transformed into
// the gradient. Maps that tiles of 4 outputs do not fill get some tiles of 3.
#pragma once

#include <cstdint>

#include "network/arithmetic/tile_blocks.h"
#include "network/arithmetic/winograd.h"

namespace insightface {

class FusedFilterGradient {
 public:
  // The shape must suit FusedWinograd<float>.
  explicit FusedFilterGradient(const WinogradShape& shape);
  // `gradient` is [filters, channels, 3, 3].
  void Run(const float* x, const float* dy, float* gradient, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  // The transforms of the tiles of a block: 36 matrices of [channels / 16, tiles, 16].
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
  const int64_t filters_;  // filters at a time
  const int64_t blocks_, block_;  // of tiles; the tiles of one, at most
  const int64_t maps_step_, gradients_step_, sums_step_;  // numbers between consecutive matrices
};

}  // namespace insightface
