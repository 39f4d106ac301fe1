// How the gradients of 3x3 filters by Winograd's filtering go through filters and tiles.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "network/arithmetic/tile_blocks.h"
#include "network/arithmetic/tile_products.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {

// As many of the `columns` at a time as `most` bytes hold `matrices` float32 matrices of, of `inner` rows each.
inline int64_t ColumnsAtATime(int64_t matrices, int64_t inner, int64_t columns, int64_t most) {
  const int64_t panels = columns / kPanelColumns;
  const int64_t bytes = matrices * inner * columns * static_cast<int64_t>(sizeof(float));
  int64_t parts = 1;
  while (parts < panels && (panels % parts != 0 || bytes / parts > most)) { ++parts; }
  return columns / parts;
}

// The gradients of filters before their last transform, and where they go.
struct FilterSums {
  void (*transform)(const float* matrices, float* weights, const FilterPlaces& places);
  const float* matrices;
  int64_t step;
  float* gradient;
};

// Transforms the calling thread's share of the gradients of `at_a_time` filters from number `filter` on. Some filters
// of some channels at a time: the first cache then holds the parts of their rows that these gradients lie in.
inline void TransformShare(const FilterSums& sums, int64_t filter, int64_t at_a_time, int64_t channels) {
  constexpr int64_t kFilters = kWinogradLanes, kChannels = 16;
  const Share share(channels);
  for (int64_t first = share.begin; first < share.end; first += kChannels) {
    const int64_t last = std::min(first + kChannels, share.end);
    for (int64_t f = 0; f < at_a_time; f += kFilters) {
      sums.transform(sums.matrices + first * at_a_time + f,
                     sums.gradient + ((filter + f) * channels + first) * kWinogradTaps,
                     {kFilters, last - first, channels * kWinogradTaps, kWinogradTaps, sums.step, at_a_time});
    }
  }
}

// Gradients of `at_a_time` of `filters` filters at a time: for each block of tiles all threads call
// `transform(block, filter, keeps_maps)` and `multiply(block, adds)`, then the sums of each channel are transformed.
// The matrices of a single block of maps serve all filters.
template <typename Transform, typename Multiply>
void ForFilterBlocks(const TileGrid& grid, int64_t blocks, int64_t filters, int64_t at_a_time, int64_t channels,
                     const Transform& transform, const Multiply& multiply, const FilterSums& sums) {
#pragma omp parallel
  for (int64_t filter = 0; filter < filters; filter += at_a_time) {
    for (int64_t b = 0; b < blocks; ++b) {
      const TileBlock block = grid.TakeBlock(grid.Tiles() * b / blocks, grid.Tiles() * (b + 1) / blocks);
      transform(block, filter, filter > 0 && blocks == 1);
#pragma omp barrier
      multiply(block, b > 0);
#pragma omp barrier
    }
    TransformShare(sums, filter, at_a_time, channels);
  }
}

}  // namespace insightface
