#include "network/arithmetic/winograd_fused.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/alignment.h"
#include "base/caches.h"
#include "base/parallel.h"
#include "network/arithmetic/matrix_unit.h"
#include "network/arithmetic/tile_products.h"
#include "network/arithmetic/upcoming.h"
#include "network/arithmetic/winograd_bfloat16_tiles.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kColumns = kPanelColumns, kVector = kWinogradLanes;

// The tiles and their transforms for each number type.
template<typename T>
struct Tiling;

template<>
struct Tiling<float> {
  static constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch;
  static constexpr int64_t kChannels = kWinogradLanes;  // whose filters are transformed together
  static int64_t CacheBytes() { return 768 * 1024; }
  static bool UsesMatrixUnit() { return false; }
  static constexpr bool kShort = true;  // has tiles of 3 outputs, whose matrices lack kPoint
  static constexpr int64_t kPoint = kWinogradPoint;

  static void TransformPatch(TileKind kind, const float* const* pixels, const float* const* next, int64_t channels,
                             float* matrices, int64_t step) {
    kTileTransforms.maps.float32.TransformPatch(kind, pixels, next, channels, matrices, {step});
  }
  static void MultiplyPanel(const float* a, int64_t rows, int64_t inner, const float* b, float* c,
                            Upcoming::Lines next) {
    kTileProducts.MultiplyPanel(a, rows, inner, b, c, next);
  }
  static void TransformProducts(TileKind kind, const float* products, int64_t step, const float* bias,
                                const float* slope, const float* const* addends, float* const* pixels) {
    kTileTransforms.TransformProducts(kind, products, step, kColumns, {bias, slope, addends}, pixels);
  }
  static void TransformFilters(const float* weights, int64_t row, bool reversed, float* matrices, int64_t step) {
    const int64_t channel = reversed ? row : kWinogradTaps, filter = reversed ? kWinogradTaps : row;
    kTileTransforms.TransformFilters(weights, reversed, matrices,
                                     {kVector, kChannels, filter, channel, step, kColumns});
  }
  static int64_t FiltersStep(int64_t channels) { return MatrixStep(channels * kColumns, kFloat); }
};

template<>
struct Tiling<BFloat16> {
  static constexpr int64_t kTile = kHalfTile, kPatch = kHalfPatch;
  static constexpr int64_t kChannels = kHalfLanes;
  static int64_t CacheBytes() { return UsesMatrixUnit() ? 1280 * 1024 : 640 * 1024; }
  static bool UsesMatrixUnit() { return HasMatrixUnit(); }
  static constexpr bool kShort = false;
  static constexpr int64_t kPoint = -1;

  static void TransformPatch(TileKind, const BFloat16* const* pixels, const BFloat16* const* next, int64_t channels,
                             BFloat16* matrices, int64_t step) {
    TransformHalfPatch(pixels, next, channels, matrices, step);
  }
  static void MultiplyPanel(const BFloat16* a, int64_t rows, int64_t inner, const BFloat16* b, float* c,
                            Upcoming::Lines next) {
    if (rows == kUnitRows) {
      MultiplyByUnit({a, inner}, {b, kColumns}, inner, {}, {c, kColumns}, next);
    } else {
      MultiplyHalfPanel(a, rows, inner, b, c, next);
    }
  }
  static void TransformProducts(TileKind, const float* products, int64_t step, const float* bias, const float* slope,
                                const BFloat16* const* addends, BFloat16* const* pixels) {
    TransformHalfProducts(products, step, {bias, slope, addends}, pixels);
  }
  static void TransformFilters(const float* weights, int64_t row, bool reversed, BFloat16* matrices, int64_t step) {
    TransformHalfFilters(weights, row, reversed, matrices, step);
  }
  static int64_t FiltersStep(int64_t channels) { return channels * kColumns; }
};

template<typename T>
constexpr int64_t kMatrices = Tiling<T>::kPatch * Tiling<T>::kPatch;

template<typename T>
int64_t BlockSize(const WinogradShape& shape) {
  // Every block of tiles reads all filters; where these are many, that takes longer than reading maps from the third
  // cache. With 256 by 256 of them it depends on the second cache.
  constexpr int64_t kManyFilters = 256 * 256, kMost = 8 * kPanelRows, kLargeCache = 2 * 1024 * 1024;
  const int64_t filters = shape.in.channels * shape.out.channels;
  const bool is_large = SecondCacheBytes() >= kLargeCache && filters >= kManyFilters;
  const int64_t least = is_large || filters > kManyFilters ? 32 : kPanelRows;
  const int64_t per_tile = kMatrices<T> * (shape.in.channels * static_cast<int64_t>(sizeof(T)) + kColumns * kFloat);
  const int64_t cache = is_large ? std::max(kLargeCache * 7 / 8, Tiling<T>::CacheBytes()) : Tiling<T>::CacheBytes();
  const int64_t block = std::clamp<int64_t>(cache / per_tile, least, kMost);
  return Tiling<T>::UsesMatrixUnit() ? std::max(block / kUnitRows, int64_t{1}) * kUnitRows : block;
}

int64_t Ceiling(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }

bool FitsColumns(const WinogradShape& shape, int64_t multiple) {
  return shape.in.channels % multiple == 0 && shape.out.channels % multiple == 0 && shape.pad <= 2;
}

}  // namespace

template<>
bool FusedWinograd<float>::Suits(const WinogradShape& shape) {
  return FitsColumns(shape, kColumns) && SuitsWinograd(shape);
}

template<>
bool FusedWinograd<BFloat16>::Suits(const WinogradShape& shape) {
  constexpr int64_t kLeastChannels = 64, kLeastTiles = 96;
  const int64_t tiles = shape.batch * Ceiling(shape.out.height, kHalfTile) * Ceiling(shape.out.width, kHalfTile);
  return FitsColumns(shape, kHalfLanes) && std::min(shape.in.channels, shape.out.channels) >= kLeastChannels &&
         tiles >= kLeastTiles && (MultipliesHalfTiles() || HasMatrixUnit());
}

template<typename T>
FusedWinograd<T>::FusedWinograd(const WinogradShape& shape)
    : shape_(shape),
      grid_(shape.batch, shape.out, Tiling<T>::kTile, Tiling<T>::kShort),
      block_(BlockSize<T>(shape)),
      threads_(omp_get_max_threads()),
      filters_step_(Tiling<T>::FiltersStep(shape.in.channels)),
      maps_step_(MatrixStep(block_ * shape.in.channels, sizeof(T))),
      products_step_(MatrixStep(block_ * kColumns, kFloat)) {}

template<typename T>
int64_t FusedWinograd<T>::MatricesBytes(int64_t columns) const {
  return AlignedSize(kMatrices<T> * filters_step_ * (columns / kColumns) * sizeof(T));
}

template<typename T>
int64_t FusedWinograd<T>::ColumnsAtATime() const {
  constexpr int64_t kMost = 10 * 1000 * 1000;
  const int64_t panels = shape_.out.channels / kColumns;
  int64_t parts = 1;
  while (parts < panels && (panels % parts != 0 || MatricesBytes(shape_.out.channels / parts) > kMost)) { ++parts; }
  return shape_.out.channels / parts;
}

template<typename T>
void FusedWinograd<T>::RunOnWeights(const float* weights, bool reversed, const T* x, const FusedEpilogue<T>& epilogue,
                                    T* y, char* scratch) const {
  const int64_t step = ColumnsAtATime();
  for (int64_t first = 0; first < shape_.out.channels; first += step) {
    const Columns columns{first, first + step};
    TransformFilters(weights, reversed, columns, scratch);
    Run(x, scratch, columns, epilogue, y, scratch + MatricesBytes(step));
  }
}

template<typename T>
void FusedWinograd<T>::TransformFilters(const float* weights, bool reversed, char* matrices) const {
  TransformFilters(weights, reversed, {0, shape_.out.channels}, matrices);
}

template<typename T>
void FusedWinograd<T>::Run(const T* x, const char* filters, const FusedEpilogue<T>& epilogue, T* y,
                           char* scratch) const {
  Run(x, filters, {0, shape_.out.channels}, epilogue, y, scratch);
}

// Filters lie as they are read: 32 of them after the other, for each its matrices.
template<typename T>
void FusedWinograd<T>::TransformFilters(const float* weights, bool reversed, Columns columns, char* matrices) const {
  const int64_t in = shape_.in.channels, row = (reversed ? shape_.out.channels : in) * kWinogradTaps;
  // A pair of bfloat16 numbers lies together.
  constexpr int64_t kTogether = kFloat / sizeof(T), kGroup = Tiling<T>::kChannels;
  T* const target = reinterpret_cast<T*>(matrices);
  ParallelRows((columns.last - columns.first) / kVector * (in / kGroup), [&](int64_t begin, int64_t end, int) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t own = group / (in / kGroup) * kVector, channel = group % (in / kGroup) * kGroup;
      const int64_t filter = columns.first + own;
      const int64_t place = (reversed ? channel : filter) * row + (reversed ? filter : channel) * kWinogradTaps;
      T* const panel = target + own / kColumns * kMatrices<T> * filters_step_;
      Tiling<T>::TransformFilters(weights + place, row, reversed,
                                  panel + channel * kColumns + own % kColumns * kTogether, filters_step_);
    }
  });
}

template<typename T>
int64_t FusedWinograd<T>::ScratchBytes() const {
  return AlignedSize(shape_.in.channels * sizeof(T)) +
         threads_ * kMatrices<T> * static_cast<int64_t>(maps_step_ * sizeof(T) + products_step_ * kFloat);
}

template<typename T>
void FusedWinograd<T>::Run(const T* x, const char* filters, Columns columns, const FusedEpilogue<T>& epilogue, T* y,
                           char* scratch) const {
  constexpr int64_t kTile = Tiling<T>::kTile, kPatch = Tiling<T>::kPatch, kNumber = sizeof(T);
  const int64_t in = shape_.in.channels;
  T* const zeros = reinterpret_cast<T*>(scratch);
  scratch += AlignedSize(in * sizeof(T));
  std::fill_n(zeros, in, T{});
  const int64_t maps_bytes = kMatrices<T> * maps_step_ * static_cast<int64_t>(sizeof(T));
  const int64_t thread_bytes = maps_bytes + kMatrices<T> * products_step_ * kFloat;
  const bool adds = epilogue.addend != nullptr, by_unit = Tiling<T>::UsesMatrixUnit();
  // The unit multiplies whole groups of tiles.
  const int64_t group = by_unit ? kUnitRows : 1, groups = Ceiling(grid_.Tiles(), group);
  ParallelBlocks(groups, block_ / group, [&](int64_t first_group, int64_t last_group, int thread) {
    const int64_t begin = first_group * group, end = std::min(last_group * group, grid_.Tiles());
    std::optional<MatrixUnit> unit;
    if (by_unit) { unit.emplace(); }
    T* const maps = reinterpret_cast<T*>(scratch + thread * thread_bytes);
    float* const products = reinterpret_cast<float*>(scratch + thread * thread_bytes + maps_bytes);
    const TileBlock block = grid_.TakeBlock(begin, end);
    const int64_t tiles = static_cast<int64_t>(block.tiles.size());
    const auto patch = [&](int64_t i, const T** pixels) {
      const TilePlace& place = block.tiles[i].place;
      ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch,
                [&](int64_t p, const T* pixel) { pixels[p] = pixel != nullptr ? pixel : zeros; });
    };
    ForTiles<kPatch * kPatch, const T*>(0, tiles, patch, [&](int64_t i, auto pixels, auto next) {
      Tiling<T>::TransformPatch(block.tiles[i].kind, pixels, next, in, maps + i * in, maps_step_);
    });
    const T* factors = reinterpret_cast<const T*>(filters);
    for (int64_t column = columns.first; column < columns.last; column += kColumns) {
      for (int64_t m = 0; m < kMatrices<T>; ++m, factors += filters_step_) {
        const auto [from, to] = block.OfMatrix(m, kPatch, Tiling<T>::kPoint);
        // Products wait for the third cache, which most filters come from, so the next matrix is fetched meanwhile.
        Upcoming next(factors + filters_step_, filters_step_ * static_cast<int64_t>(sizeof(T)));
        const auto multiply = [&](int64_t row, int64_t rows, int64_t parts) {
          Tiling<T>::MultiplyPanel(maps + m * maps_step_ + row * in, rows, in, factors,
                                   products + m * products_step_ + row * kColumns,
                                   next.Take(parts, in * kNumber / kFloat));
        };
        if (by_unit) {
          // Rows that only fill up the last panel are products of what lies there; no transform reads them.
          for (int64_t row = 0; row < to; row += kUnitRows) { multiply(row, kUnitRows, Ceiling(to - row, kUnitRows)); }
          continue;
        }
        const int64_t panels = Ceiling(to - from, kPanelRows);
        for (int64_t p = 0; p < panels; ++p) {
          const int64_t row = from + (to - from) * p / panels;
          multiply(row, from + (to - from) * (p + 1) / panels - row, panels - p);
        }
      }
      const float* const bias = epilogue.bias != nullptr ? epilogue.bias + column : nullptr;
      const float* const slope = epilogue.slope != nullptr ? epilogue.slope + column : nullptr;
      for (int64_t i = 0; i < tiles; ++i) {
        const TilePlace& place = block.tiles[i].place;
        T* pixels[kTile * kTile];
        const T* addends[kTile * kTile];
        ForSquare(y, shape_.out, place.image, place.row, place.column, kTile, [&](int64_t p, T* pixel) {
          pixels[p] = pixel != nullptr ? pixel + column : nullptr;
          if (adds && pixel != nullptr) { addends[p] = epilogue.addend + (pixels[p] - y); }
        });
        Tiling<T>::TransformProducts(block.tiles[i].kind, products + i * kColumns, products_step_, bias, slope,
                                     adds ? addends : nullptr, pixels);
      }
    }
  });
}

template class FusedWinograd<float>;
template class FusedWinograd<BFloat16>;

}  // namespace insightface
