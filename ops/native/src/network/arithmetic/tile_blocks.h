// The tiles of a batch of maps, and blocks of them in an order that suits tiles of two sizes.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "network/arithmetic/squares.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {

// Tiles ordered by their kinds: (4x3), (4x4), (3x4), (3x3) outputs, so that those which contribute to a matrix are
// consecutive.
struct TileBlock {
  static constexpr int64_t kKinds = 4;

  struct Tile {
    TilePlace place;
    TileKind kind;
  };
  std::vector<Tile> tiles;
  int64_t ends[kKinds];

  // The tiles that contribute to matrix `m` of patch x patch; short tiles lack the matrices of `point`.
  std::pair<int64_t, int64_t> OfMatrix(int64_t m, int64_t patch, int64_t point) const {
    const bool whole_rows = m / patch == point, whole_columns = m % patch == point;
    return {whole_columns ? ends[0] : 0, whole_rows ? ends[1] : whole_columns ? ends[2] : ends[3]};
  }
};

class TileGrid {
 public:
  // Tiles of tile x tile outputs; with `smaller` some lack one where that leaves less over.
  TileGrid(int64_t batch, const ValueShape& out, int64_t tile, bool smaller)
      : tile_(tile),
        rows_(DivideIntoTiles(out.height, tile, smaller)),
        columns_(DivideIntoTiles(out.width, tile, smaller)),
        tiles_(batch * static_cast<int64_t>(rows_.size() * columns_.size())) {}

  int64_t Tiles() const { return tiles_; }
  TileBlock TakeBlock(int64_t first, int64_t last) const;

 private:
  const int64_t tile_;
  const std::vector<TileSpan> rows_, columns_;  // of tiles of one image
  const int64_t tiles_;
};

}  // namespace insightface
