// Winograd's minimal filtering F(2x2, 3x3) of bfloat16 maps, for processors that multiply bfloat16 in AVX-512
// registers: 16 products per channel of a tile where the plain sum needs 36. With 2x2 tiles all transforms are sums and
// differences, so that rounding the transformed numbers to bfloat16 costs little: the error of a result is 1.8 times
// that of the plain sum of bfloat16 numbers (4x4 tiles: 5 times).
//
// y = A^T [(G w G^T) * (B^T x B)] A, where * multiplies number by number; Lavin and Gray (2015, arXiv:1509.09308):
//
//         | 1  0 -1  0 |         |  1    0    0  |
//   B^T = | 0  1  1  0 |     G = | 1/2  1/2  1/2 |   A^T = | 1  1  1  0 |
//         | 0 -1  1  0 |         | 1/2 -1/2  1/2 |         | 0  1 -1 -1 |
//         | 0  1  0 -1 |         |  0    0    1  |
//
// Transforms are computed in float32, products of bfloat16 numbers are summed in float32.
#pragma once

#include <cstdint>

#include "base/number_types.h"
#include "network/arithmetic/upcoming.h"

namespace insightface {

constexpr int64_t kHalfTile = 2;   // outputs of a tile, each way
constexpr int64_t kHalfPatch = 4;  // inputs of a tile, each way
constexpr int64_t kHalfMatrices = kHalfPatch * kHalfPatch;
constexpr int64_t kHalfLanes = 32;  // channels and filters must be a multiple of it

// Operations on a result before it is rounded: + bias, PReLU, + addend. A null pointer omits the operation.
struct HalfTileEpilogue {
  const float* bias;
  const float* slope;
  const BFloat16* const* addends;  // one per pixel of the tile
};

// Whether this processor has the instructions and oneDNN may use them; call nothing else here if it does not.
bool MultipliesHalfTiles();

// matrices[i] = (B^T x B)[i] of the patch's 16 pixels, all channels. The matrices lie `step` numbers apart. Of each 32
// channels the even ones come first. Pixels at the addresses `next`, unless it is null, are prefetched.
void TransformHalfPatch(const BFloat16* const* pixels, const BFloat16* const* next, int64_t channels,
                        BFloat16* matrices, int64_t step);

// c[row] = the product of `rows` rows of `a` and 32 columns of `b`: a is [rows, inner], c is [rows, 32]; at most 12
// rows. Lines that the caller needs next, at most inner / 2, are prefetched meanwhile.
void MultiplyHalfPanel(const BFloat16* a, int64_t rows, int64_t inner, const BFloat16* b, float* c,
                       Upcoming::Lines next);

// y = A^T m A of 32 channels into the tile's 4 pixels; null pixels lie outside the map and are omitted.
void TransformHalfProducts(const float* matrices, int64_t step, const HalfTileEpilogue& epilogue,
                           BFloat16* const* pixels);

// Transforms the filters from 32 channels to 16 filters, or, reversed, those from 32 filters to 16 channels, with the
// taps mirrored both ways. `weights` is the first of them in [filters, channels, 3, 3], `row` the numbers of a filter;
// `matrices` is their place in the first of 16 matrices, [in / 2, 32, 2], which lie `step` numbers apart.
void TransformHalfFilters(const float* weights, int64_t row, bool reversed, BFloat16* matrices, int64_t step);

}  // namespace insightface
