// Where the numbers of strided tiles (strided_tiles.h) lie: the entries of a block of tiles in each of 36 matrices.
#pragma once

#include <array>
#include <cstdint>

#include "network/arithmetic/matrix_products.h"
#include "network/arithmetic/strided_tiles.h"

namespace insightface {

using StridedCounts = std::array<int64_t, kStridedMatrices>;

// The places of a tile in one direction of the matrices: one for each point, and as many as outputs for w1.
constexpr int64_t EntriesOneWay(int64_t side, bool is_short) {
  if (side == kStridedPoints) { return is_short ? kStridedTile - 1 : kStridedTile; }
  return is_short && side == kStridedPoints - 2 ? 0 : 1;
}

// The entries of a tile in matrix `m`.
inline int64_t EntriesOf(int64_t m, TileKind kind) {
  constexpr int64_t kSide = kStridedPoints + 1;
  return EntriesOneWay(m / kSide, kind.short_rows) * EntriesOneWay(m % kSide, kind.short_columns);
}

inline void AddEntries(TileKind kind, StridedCounts* counts) {
  for (int64_t m = 0; m < kStridedMatrices; ++m) { (*counts)[m] += EntriesOf(m, kind); }
}

// The matrices of at most `tiles` tiles, with `width` numbers for an entry.
class StridedPlaces {
 public:
  StridedPlaces(int64_t tiles, int64_t width) : width_(width) {
    int64_t offset = 0;
    for (int64_t m = 0; m < kStridedMatrices; ++m) {
      offsets_[m] = offset;
      offset += MatrixStep(tiles * EntriesOf(m, TileKind{}) * width, sizeof(float));
    }
    numbers_ = offset;
  }

  int64_t Numbers() const { return numbers_; }
  int64_t Offset(int64_t m) const { return offsets_[m]; }

  // Writes the addresses of a tile's 81 places; `before` are the entries of the tiles before it. Those that a short tile
  // lacks are not written.
  template<typename Number>
  void Find(TileKind kind, const StridedCounts& before, Number* matrices, Number** places) const {
    constexpr int64_t kSide = kStridedPoints + 1;
    for (int64_t row = 0; row < kStridedPlaces; ++row) {
      const int64_t a = row < kStridedPoints ? row : kStridedPoints;
      if (row - a >= EntriesOneWay(a, kind.short_rows)) { continue; }
      for (int64_t column = 0; column < kStridedPlaces; ++column) {
        const int64_t b = column < kStridedPoints ? column : kStridedPoints;
        const int64_t columns = EntriesOneWay(b, kind.short_columns);
        if (column - b >= columns) { continue; }
        const int64_t m = a * kSide + b, entry = before[m] + (row - a) * columns + (column - b);
        places[row * kStridedPlaces + column] = matrices + offsets_[m] + entry * width_;
      }
    }
  }

 private:
  const int64_t width_;
  StridedCounts offsets_;
  int64_t numbers_;
};

}  // namespace insightface
