// Winograd's filtering of 3x3 convolutions of stride 2, one tile. One way, with w = (w0, w1, w2):
//
//   y[i] = (w0 o[i] + w2 o[i + 1]) + w1 e[i]        o[i] = x[2i - 1], e[i] = x[2i]
//
// The sum in brackets is a filter of two taps, stride 1: F(4, 2) on the points 0, p, -p, q and infinity of
// winograd_tiles.h needs 5 products for 4 outputs; w1 needs 4. So a tile of 4x4 outputs takes 9x9 = 81 products per
// channel and filter where the plain sum takes 144. The gradient of the input is the same with dy for o and e and (w2, w0)
// for (w0, w2): F(4, 2) gives its odd pixels, w1 its even ones.
//
// A tile's numbers have 9 places each way: five points, then the four of w1. Places of w1 share a filter, so the filters
// make 6x6 matrices, and a tile contributes 1, 4 or 16 entries to one of them. Tiles of 3 outputs, F(3, 2), lack the point
// q and the last place of w1.
//
//         | p2q2  -p2q   -q2     q   0 |         | 1/p2q2    0  |         | 1   1   1   1   0 |
//         |  0    -pqs  (p-q)s   s   0 |         |   s      s p |   A^T = | 0   p  -p   q   0 |
//   B^T = |  0     pqd   -sd     d   0 |     G = |   s     -s p |         | 0  p2  p2  q2   0 |
//         |  0   -2p2q    0     2q   0 |         |   t      t q |         | 0  p3 -p3  q3   1 |
//         |  0    p2q   -p2     -q   1 |         |   0       1  |
//
//   with s = p + q, d = q - p in B; s and t of winograd_tiles.h in G.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {

constexpr int64_t kStridedTile = 4;        // outputs of a tile, each way
constexpr int64_t kStridedPatch = 9;       // inputs of a tile, each way
constexpr int64_t kStridedInputs = 8;      // inputs whose gradients a tile computes, each way
constexpr int64_t kStridedOutputs = 5;     // outputs from whose gradients it does
constexpr int64_t kStridedPlaces = 9;      // each way
constexpr int64_t kStridedPoints = 5;      // of these, points
constexpr int64_t kStridedMatrices = 36;

// Transforms of all channels, 16 at a time, of one tile. `places` are 81 addresses, of the first 16 channels; the next
// ones lie `lanes_step` numbers further. Null pixels lie outside the map: they must not be read, and are not written.
struct StridedTransforms {
  // The places of the 9x9 pixels of an input.
  void (*TransformPatch)(TileKind kind, const float* const* pixels, int64_t channels, float* const* places,
                         int64_t lanes_step);
  // The places of the 5x5 gradients of outputs, for the gradient of the input.
  void (*TransformGradients)(TileKind kind, const float* const* pixels, int64_t channels, float* const* places,
                             int64_t lanes_step);
  // The places of the 4x4 gradients of outputs, for the gradient of the filters.
  void (*TransformTileGradient)(TileKind kind, const float* const* pixels, int64_t channels, float* const* places,
                                int64_t lanes_step);
  // From the products of 32 filters to 4x4 outputs.
  void (*TransformProducts)(TileKind kind, const float* const* places, float* const* pixels);
  // From the products of 32 channels to the gradients of 8x8 inputs, which may be added.
  void (*TransformInputProducts)(TileKind kind, const float* const* places, bool adds, float* const* pixels);
  // As in winograd_tiles.h.
  void (*TransformFilters)(const float* weights, bool mirrored, float* matrices, const FilterPlaces& places);
  void (*TransformFilterGradients)(const float* matrices, float* weights, const FilterPlaces& places);
};
INSIGHTFACE_LOOPS(StridedTransforms, kStridedTransforms)

}  // namespace insightface
