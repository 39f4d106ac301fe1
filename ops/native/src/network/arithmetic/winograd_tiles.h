// Winograd's minimal filtering F(4x4, 3x3) of one tile: a 3x3 convolution of stride 1 becomes 36 products per channel
// where the plain sum needs 144. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015,
// arXiv:1509.09308). The points are 0, +-p, +-q and infinity with p = 3/4, q = 3/2; they keep results five times closer
// to the exact ones than the usual 0, +-1, +-2.
//
// y = A^T [(G w G^T) * (B^T x B)] A, where * multiplies number by number. With s = 1 / (2 p^2 (p^2 - q^2)) and
// t = 1 / (2 q^2 (q^2 - p^2)):
//
//         | p2q2    0    -p2-q2    0    1  0 |         | 1/p2q2    0     0   |         | 1   1   1   1   1   0 |
//         |  0   -p q2    -q2      p    1  0 |         |   s      s p   s p2 |   A^T = | 0   p  -p   q  -q   0 |
//   B^T = |  0    p q2    -q2     -p    1  0 |     G = |   s     -s p   s p2 |         | 0  p2  p2  q2  q2   0 |
//         |  0   -p2 q    -p2      q    1  0 |         |   t      t q   t q2 |         | 0  p3 -p3  q3 -q3   1 |
//         |  0    p2 q    -p2     -q    1  0 |         |   t     -t q   t q2 |
//         |  0    p2q2     0    -p2-q2  0  1 |         |   0      0     1    |
//
// A map whose size is not a multiple of 4 gets tiles of 3 outputs too: F(3, 3) on the points 0, +-p, q and infinity.
// Its matrices are those of F(4, 3) without the point -q, and its B is scaled so that both have the same G: tiles of
// all sizes share the transformed filters, and only some of the 36 products contain them.
//
//          | p2q2  -p2q   -q2     q   0 |
//          |  0    -pqs  (p-q)s   s   0 |            | 1   1   1   1   0 |
//   B'^T = |  0     pqd   -sd     d   0 |    A'^T =  | 0   p  -p   q   0 |    with s = p + q, d = q - p
//          |  0   -2p2q    0     2q   0 |            | 0  p2  p2  q2   1 |
//          |  0    p2q   -p2     -q   1 |
//
// One tile, written plainly (the code takes all channels of a tile, 16 at a time):
//
//   for (out = 0; out < filters; ++out) {
//     float m[6][6] = {};                                   // the 36 sums over channels are matrix products
//     for (in = 0; in < channels; ++in) {
//       const Square6 u = G * w[out][in] * Transposed(G);   // TransformFilters
//       const Square6 v = Transposed(B) * x[in] * B;        // TransformPatch: 6x6 pixels around the tile
//       for (i = 0; i < 6; ++i)
//         for (j = 0; j < 6; ++j) m[i][j] += u[i][j] * v[i][j];
//     }
//     y[out] = Transposed(A) * m * A;                       // TransformProducts: 4x4 pixels
//   }
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

constexpr int64_t kWinogradTile = 4;   // outputs of a tile, each way
constexpr int64_t kWinogradPatch = 6;  // inputs of a tile, each way
constexpr int64_t kWinogradMatrices = kWinogradPatch * kWinogradPatch;
constexpr int64_t kWinogradTaps = 9;    // of a filter
constexpr int64_t kWinogradPoint = 4;   // the point that tiles of 3 outputs lack, -q
constexpr int64_t kWinogradLanes = 16;  // channels must be a multiple of it

// Operations on a result before it is stored: + bias, PReLU, + addend. A null pointer omits the operation.
struct TileEpilogue {
  const float* bias;
  const float* slope;
  const float* const* addends;  // one per pixel of the tile
};

// Whether a tile has 3 outputs instead of 4, each way.
struct TileKind {
  bool short_rows = false, short_columns = false;
};

// Where the transforms of a tile go: numbers between consecutive ones of the 36 matrices, and between consecutive 16
// channels of a matrix.
struct MatrixPlaces {
  int64_t step;
  int64_t lanes_step = kWinogradLanes;
};

// Transforms of all channels of one tile. Squares of pixels are always laid out as those of 4x4 outputs; what a smaller
// tile lacks is not read or written. Pixels at the addresses `next`, unless it is null, are prefetched. `matrices` is the
// tile's place in the first of 36 matrices.
template<typename T>
struct MapTransforms {
  // matrices = B^T x B of the patch's 36 pixels.
  void (*TransformPatch)(TileKind kind, const T* const* pixels, const T* const* next, int64_t channels, T* matrices,
                         MatrixPlaces places);
  // matrices = A dy A^T of the tile's 16 pixels.
  void (*TransformTileGradient)(TileKind kind, const T* const* pixels, const T* const* next, int64_t channels,
                                T* matrices, MatrixPlaces places);
};

// Filters and their matrices [channels, filters], and how many numbers each lies from the next. The nine taps of a
// filter and channel lie together.
struct FilterPlaces {
  int64_t filters, channels;          // whole groups of 16 filters
  int64_t filter_step, channel_step;  // of taps
  int64_t matrix_step, row_step;      // of matrices, and of channels in them
};

struct TileTransforms {
  BothTypes<MapTransforms> maps;
  // matrices = G w G^T, with the taps mirrored both ways if asked for.
  void (*TransformFilters)(const float* weights, bool mirrored, float* matrices, const FilterPlaces& places);
  // y = A^T m A into the tile's 16 pixels; null pixels lie outside the map and are omitted.
  void (*TransformProducts)(TileKind kind, const float* matrices, int64_t step, int64_t channels,
                            const TileEpilogue& epilogue, float* const* pixels);
  // weights = G^T m G
  void (*TransformFilterGradients)(const float* matrices, float* weights, const FilterPlaces& places);
};
INSIGHTFACE_LOOPS(TileTransforms, kTileTransforms)

}  // namespace insightface
