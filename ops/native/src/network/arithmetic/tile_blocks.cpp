#include "network/arithmetic/tile_blocks.h"

namespace insightface {

TileBlock TileGrid::TakeBlock(int64_t first, int64_t last) const {
  constexpr TileKind kOrder[TileBlock::kKinds] = {{false, true}, {false, false}, {true, false}, {true, true}};
  const int64_t columns = static_cast<int64_t>(columns_.size()), image = static_cast<int64_t>(rows_.size()) * columns;
  TileBlock block;
  block.tiles.reserve(last - first);
  for (int64_t k = 0; k < TileBlock::kKinds; ++k) {
    for (int64_t i = first; i < last; ++i) {
      const TileSpan &row = rows_[i % image / columns], &column = columns_[i % columns];
      const bool same = (row.size < tile_) == kOrder[k].short_rows && (column.size < tile_) == kOrder[k].short_columns;
      if (same) { block.tiles.push_back({{i / image, row.first, column.first}, kOrder[k]}); }
    }
    block.ends[k] = static_cast<int64_t>(block.tiles.size());
  }
  return block;
}

}  // namespace insightface
