#include "network/arithmetic/strided_winograd.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/filter_gradient_blocks.h"
#include "network/arithmetic/tile_products.h"

namespace insightface {
namespace {

constexpr int64_t kTile = kStridedTile, kPatch = kStridedPatch, kMatrices = kStridedMatrices;
constexpr int64_t kSquare = kStridedPlaces * kStridedPlaces;
constexpr int64_t kLanes = kWinogradLanes, kColumns = kPanelColumns;
constexpr int64_t kFloat = static_cast<int64_t>(sizeof(float));

// The tiles of a block whose matrices fit a thread's second level cache; every block reads all filters.
int64_t BlockSize(int64_t inner) {
  constexpr int64_t kCache = 768 * 1024, kLeast = 12, kMost = 48;
  return std::clamp<int64_t>(kCache / (kSquare * (inner + kColumns) * kFloat), kLeast, kMost);
}

int64_t Blocks(int64_t tiles, int64_t channels) {
  // Each block reads and writes all sums, but its matrices take memory.
  constexpr int64_t kMost = 4 * 1000 * 1000, kLeast = 48, kOfThread = 8;
  const int64_t wanted =
      std::max({kMost / (kSquare * channels * kFloat), kLeast, omp_get_max_threads() * kOfThread});
  return (tiles + wanted - 1) / wanted;
}

}  // namespace

bool SuitsStridedWinograd(const WinogradShape& shape) {
  constexpr int64_t kLeastTiles = 48, kChannelsPerTile = 8;
  const auto halves = [](int64_t in, int64_t out) { return in == 2 * out || in == 2 * out - 1; };
  const int64_t in = shape.in.channels, out = shape.out.channels;
  return shape.pad == 1 && halves(shape.in.height, shape.out.height) && halves(shape.in.width, shape.out.width) &&
         in % kColumns == 0 && out % kColumns == 0 &&
         shape.Tiles() >= std::max(kLeastTiles, std::max(in, out) / kChannelsPerTile);
}

StridedConvolution::StridedConvolution(const WinogradShape& shape, bool reversed)
    : shape_(shape),
      reversed_(reversed),
      inner_(reversed ? shape.out.channels : shape.in.channels),
      columns_(reversed ? shape.in.channels : shape.out.channels),
      grid_(shape.batch, shape.out, kTile, true),
      block_(BlockSize(inner_)),
      maps_(block_, inner_),
      products_(block_, kColumns),
      filters_step_(MatrixStep(inner_ * kColumns, kFloat)) {}

int64_t StridedConvolution::FiltersBytes(int64_t columns) const {
  return AlignedSize(kMatrices * filters_step_ * (columns / kColumns) * kFloat);
}

int64_t StridedConvolution::ColumnsAtATime() const {
  return insightface::ColumnsAtATime(kMatrices, inner_, columns_, 10 * 1000 * 1000);
}

int64_t StridedConvolution::ScratchBytes() const {
  return FiltersBytes(ColumnsAtATime()) + AlignedSize(inner_ * kFloat) +
         omp_get_max_threads() * AlignedSize((maps_.Numbers() + products_.Numbers()) * kFloat);
}

void StridedConvolution::Run(const float* weights, const float* x, bool adds, float* y, char* scratch) const {
  const int64_t step = ColumnsAtATime();
  float* const filters = reinterpret_cast<float*>(scratch);
  for (int64_t first = 0; first < columns_; first += step) {
    TransformFilters(weights, first, step, filters);
    RunColumns(x, filters, first, step, adds, y, scratch + FiltersBytes(step));
  }
}

// Filters lie as they are read: 32 of them after the other, for each its matrices [inner, 32].
void StridedConvolution::TransformFilters(const float* weights, int64_t first, int64_t count, float* matrices) const {
  const int64_t row = shape_.in.channels * kWinogradTaps;
  const int64_t filter_step = reversed_ ? kWinogradTaps : row, inner_step = reversed_ ? row : kWinogradTaps;
  ParallelRows(count / kLanes, [&](int64_t begin, int64_t end, int) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t own = group * kLanes;
      float* const panel = matrices + own / kColumns * kMatrices * filters_step_ + own % kColumns;
      kStridedTransforms.TransformFilters(weights + (first + own) * filter_step, reversed_, panel,
                                          {kLanes, inner_, filter_step, inner_step, filters_step_, kColumns});
    }
  });
}

void StridedConvolution::RunColumns(const float* x, const float* filters, int64_t first, int64_t count, bool adds,
                                    float* y, char* scratch) const {
  float* const zeros = reinterpret_cast<float*>(scratch);
  scratch += AlignedSize(inner_ * kFloat);
  std::fill_n(zeros, inner_, 0.0f);
  const int64_t thread_bytes = AlignedSize((maps_.Numbers() + products_.Numbers()) * kFloat);
  ParallelBlocks(grid_.Tiles(), block_, [&](int64_t begin, int64_t end, int thread) {
    float* const maps = reinterpret_cast<float*>(scratch + thread * thread_bytes);
    float* const products = maps + maps_.Numbers();
    const TileBlock block = grid_.TakeBlock(begin, end);
    StridedCounts entries{};
    TransformMaps(block, x, zeros, maps, &entries);
    const float* factors = filters;
    for (int64_t column = first; column < first + count; column += kColumns) {
      for (int64_t m = 0; m < kMatrices; ++m, factors += filters_step_) {
        const int64_t panels = (entries[m] + kPanelRows - 1) / kPanelRows;
        Upcoming next(factors + filters_step_, filters_step_ * kFloat);
        for (int64_t p = 0; p < panels; ++p) {
          const int64_t row = entries[m] * p / panels, rows = entries[m] * (p + 1) / panels - row;
          kTileProducts.MultiplyPanel(maps + maps_.Offset(m) + row * inner_, rows, inner_, factors,
                                      products + products_.Offset(m) + row * kColumns, next.Take(panels - p, inner_));
        }
      }
      TransformProducts(block, products, column, adds, y);
    }
  });
}

void StridedConvolution::TransformMaps(const TileBlock& block, const float* x, const float* zeros, float* maps,
                                       StridedCounts* entries) const {
  for (const auto& [place, kind] : block.tiles) {
    const float* pixels[kPatch * kPatch];
    float* places[kSquare];
    const auto visit = [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel : zeros; };
    maps_.Find(kind, *entries, maps, places);
    if (reversed_) {
      ForSquare(x, shape_.out, place.image, place.row, place.column, kStridedOutputs, visit);
      kStridedTransforms.TransformGradients(kind, pixels, inner_, places, kLanes);
    } else {
      ForSquare(x, shape_.in, place.image, 2 * place.row - 1, 2 * place.column - 1, kPatch, visit);
      kStridedTransforms.TransformPatch(kind, pixels, inner_, places, kLanes);
    }
    AddEntries(kind, entries);
  }
}

void StridedConvolution::TransformProducts(const TileBlock& block, const float* products, int64_t column, bool adds,
                                           float* y) const {
  StridedCounts entries{};
  for (const auto& [place, kind] : block.tiles) {
    const float* places[kSquare];
    float* pixels[kStridedInputs * kStridedInputs];
    const auto visit = [&](int64_t p, float* pixel) { pixels[p] = pixel != nullptr ? pixel + column : nullptr; };
    products_.Find(kind, entries, products, places);
    if (reversed_) {
      ForSquare(y, shape_.in, place.image, 2 * place.row, 2 * place.column, kStridedInputs, visit);
      kStridedTransforms.TransformInputProducts(kind, places, adds, pixels);
    } else {
      ForSquare(y, shape_.out, place.image, place.row, place.column, kTile, visit);
      kStridedTransforms.TransformProducts(kind, places, pixels);
    }
    AddEntries(kind, &entries);
  }
}

StridedFilterGradient::StridedFilterGradient(const WinogradShape& shape)
    : shape_(shape),
      grid_(shape.batch, shape.out, kTile, true),
      filters_(ColumnsAtATime(kMatrices, shape.in.channels, shape.out.channels, 5 * 1000 * 1000)),
      blocks_(Blocks(grid_.Tiles(), shape.in.channels + filters_)),
      block_((grid_.Tiles() + blocks_ - 1) / blocks_),
      places_(block_, kLanes),
      sums_step_(MatrixStep(shape.in.channels * filters_, kFloat)) {}

int64_t StridedFilterGradient::ScratchBytes() const {
  const int64_t zeros = AlignedSize(std::max(shape_.in.channels, shape_.out.channels) * kFloat);
  return zeros + AlignedSize((shape_.in.channels + filters_) / kLanes * places_.Numbers() * kFloat) +
         AlignedSize(kMatrices * sums_step_ * kFloat);
}

void StridedFilterGradient::Run(const float* x, const float* dy, float* gradient, char* scratch) const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  float* const zeros = reinterpret_cast<float*>(scratch);
  scratch += AlignedSize(std::max(in, out) * kFloat);
  std::fill_n(zeros, std::max(in, out), 0.0f);
  float* const maps = reinterpret_cast<float*>(scratch);
  float* const gradients = maps + in / kLanes * places_.Numbers();
  scratch += AlignedSize((in + filters_) / kLanes * places_.Numbers() * kFloat);
  const Matrices matrices{maps, gradients, reinterpret_cast<float*>(scratch)};
  ForFilterBlocks(
      grid_, blocks_, out, filters_, in,
      [&](const TileBlock& block, int64_t filter, bool keeps_maps) {
        Transform(block, keeps_maps ? nullptr : x, dy, filter, zeros, matrices);
      },
      [&](const TileBlock& block, bool adds) { Multiply(block, adds, matrices); },
      {kStridedTransforms.TransformFilterGradients, matrices.sums, sums_step_, gradient});
}

// Transforms the calling thread's share of the tiles; without `x` only the gradients.
void StridedFilterGradient::Transform(const TileBlock& block, const float* x, const float* dy, int64_t filter,
                                      const float* zeros, const Matrices& matrices) const {
  const Share share(static_cast<int64_t>(block.tiles.size()));
  StridedCounts entries{};
  for (int64_t i = 0; i < share.end; ++i) {
    const auto& [place, kind] = block.tiles[i];
    if (i >= share.begin) {
      const float* pixels[kPatch * kPatch];
      float* places[kSquare];
      if (x != nullptr) {
        ForSquare(x, shape_.in, place.image, 2 * place.row - 1, 2 * place.column - 1, kPatch,
                  [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel : zeros; });
        places_.Find(kind, entries, matrices.maps, places);
        kStridedTransforms.TransformPatch(kind, pixels, shape_.in.channels, places, places_.Numbers());
      }
      ForSquare(dy, shape_.out, place.image, place.row, place.column, kTile,
                [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel + filter : zeros; });
      places_.Find(kind, entries, matrices.gradients, places);
      kStridedTransforms.TransformTileGradient(kind, pixels, filters_, places, places_.Numbers());
    }
    AddEntries(kind, &entries);
  }
}

// Computes the calling thread's share of the products: some columns of some matrices.
void StridedFilterGradient::Multiply(const TileBlock& block, bool adds, const Matrices& matrices) const {
  const int64_t panels = filters_ / kColumns;
  StridedCounts entries{};
  for (const auto& tile : block.tiles) { AddEntries(tile.kind, &entries); }
  int64_t work = 0, done = 0;
  for (const int64_t count : entries) { work += count * panels; }
  const Share share(work);
  for (int64_t m = 0; m < kMatrices; ++m) {
    for (int64_t panel = 0; panel < panels; ++panel) {
      const bool is_own = share.begin <= done && done < share.end;
      done += entries[m];
      if (!is_own) { continue; }
      const float* const gradients = matrices.gradients + 2 * panel * places_.Numbers() + places_.Offset(m);
      for (int64_t row = 0; row < shape_.in.channels; row += kLanes) {
        kTileProducts.MultiplyTransposed(matrices.maps + row / kLanes * places_.Numbers() + places_.Offset(m),
                                         gradients, places_.Numbers(), entries[m], adds,
                                         matrices.sums + m * sums_step_ + row * filters_ + panel * kColumns, filters_);
      }
    }
  }
}

}  // namespace insightface
