// Winograd's minimal filtering F(4x4, 3x3) of one tile: a 3x3 convolution of stride 1 becomes 36 products of channels
// where the plain sum needs 144. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016); the
// points 0, +-3/4, +-3/2 and infinity instead of 0, +-1, +-2 keep five times closer to the exact result.
//
// y = A^T [(G w G^T) * (B^T x B)] A. Every function transforms all channels of one tile, 16 at a time. `matrices` is
// the tile's place in the first of 36 matrices, which lie `step` numbers apart.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

constexpr int64_t kWinogradTile = 4;   // outputs of a tile, each way
constexpr int64_t kWinogradPatch = 6;  // inputs of a tile, each way
constexpr int64_t kWinogradMatrices = kWinogradPatch * kWinogradPatch;
constexpr int64_t kWinogradTaps = 9;    // of a filter
constexpr int64_t kWinogradLanes = 16;  // channels must be a multiple of it

// What happens to a result before it is stored: + bias, PReLU, + addend. Null pointers stand for nothing.
struct TileEpilogue {
  const float* bias;
  const float* slope;
  const float* const* addends;  // one per pixel of the tile
};

// matrices = B^T x B of the patch's 36 pixels.
void TransformPatch(const float* const* pixels, int64_t channels, float* matrices, int64_t step);
void TransformPatch(const BFloat16* const* pixels, int64_t channels, BFloat16* matrices, int64_t step);

// y = A^T m A into the tile's 16 pixels; null pixels lie outside the map and are left out.
void TransformProducts(const float* matrices, int64_t step, int64_t channels, const TileEpilogue& epilogue,
                       float* const* pixels);

// matrices = A dy A^T of the tile's 16 pixels.
void TransformTileGradient(const float* const* pixels, int64_t channels, float* matrices, int64_t step);
void TransformTileGradient(const BFloat16* const* pixels, int64_t channels, BFloat16* matrices, int64_t step);

// Filters in place of channels, 16 at a time: each one's nine taps lie together, `filter_step` numbers from the next's.

// matrices = G w G^T, the taps mirrored both ways if asked for.
void TransformFilters(const float* weights, int64_t filter_step, bool mirrored, int64_t filters, float* matrices,
                      int64_t step);

// weights = G^T m G
void TransformFilterGradients(const float* matrices, int64_t step, int64_t filters, float* weights,
                              int64_t filter_step);

}  // namespace insightface
