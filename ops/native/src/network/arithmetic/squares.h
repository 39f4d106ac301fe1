// Squares of pixels in channels-last maps: the patches and tiles of Winograd's filtering.
#pragma once

#include <cstdint>
#include <vector>

#include "network/arithmetic/value.h"

namespace insightface {

// The place of a tile: its first pixel of the output.
struct TilePlace {
  int64_t image, row, column;
};

// The outputs of a tile, one way.
struct TileSpan {
  int64_t first, size;
};

// Divides `size` outputs into as few tiles as possible; the last ones are one output smaller where that leaves less
// over.
inline std::vector<TileSpan> DivideIntoTiles(int64_t size, int64_t tile, bool smaller) {
  const int64_t count = (size + tile - 1) / tile;
  const int64_t left_over = count * tile - size;
  const int64_t reduced = smaller && left_over <= count ? left_over : 0;
  std::vector<TileSpan> spans;
  int64_t first = 0;
  for (int64_t i = 0; i < count; ++i) {
    spans.push_back({first, i < count - reduced ? tile : tile - 1});
    first += spans.back().size;
  }
  return spans;
}

// Calls visit(i, address) for the pixels of a square of a map, row by row; the address is null outside the map.
template<typename T, typename Visit>
void ForSquare(T* maps, const ValueShape& map, int64_t image, int64_t row, int64_t column, int64_t size,
               const Visit& visit) {
  for (int64_t i = 0; i < size * size; ++i) {
    const int64_t y = row + i / size, x = column + i % size;
    const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
    visit(i, inside ? maps + ((image * map.height + y) * map.width + x) * map.channels : nullptr);
  }
}

// Calls work(i, pixels, next) for the tiles [begin, end), where find(i, pixels) writes the addresses of a tile's pixels;
// `next` are those of the following tile, null after the last.
template<int64_t kPixels, typename Pixel, typename Find, typename Work>
void ForTiles(int64_t begin, int64_t end, const Find& find, const Work& work) {
  Pixel pixels[2][kPixels];
  if (begin < end) { find(begin, pixels[0]); }
  for (int64_t i = begin; i < end; ++i) {
    Pixel* const next = pixels[(i - begin + 1) % 2];
    if (i + 1 < end) { find(i + 1, next); }
    work(i, pixels[(i - begin) % 2], i + 1 < end ? next : nullptr);
  }
}

}  // namespace insightface
