#include "network/arithmetic/winograd.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/filter_gradient_blocks.h"
#include "network/arithmetic/squares.h"

namespace insightface {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kMatrices = kWinogradMatrices;
constexpr int64_t kFloat = sizeof(float), kNumber = sizeof(BFloat16);

TilePlace PlaceOf(const WinogradShape& shape, int64_t tile) {
  const int64_t columns = shape.TileColumns(), rows = shape.TileRows();
  return {tile / (rows * columns), tile / columns % rows * kTile, tile % columns * kTile};
}

int64_t MatricesBytes(int64_t numbers, int64_t number_bytes) {
  return kMatrices * MatrixStep(numbers, number_bytes) * number_bytes;
}

// The matrices of many filters' gradients take many times the memory of the gradients.
int64_t FiltersAtATime(const WinogradShape& shape) {
  constexpr int64_t kMost = 10 * 1000 * 1000;
  const int64_t groups = shape.out.channels / kWinogradLanes;
  int64_t parts = 1;
  while (parts < groups && (groups % parts != 0 ||
                            MatricesBytes(shape.in.channels * shape.out.channels / parts, kFloat) > kMost)) {
    ++parts;
  }
  return shape.out.channels / parts;
}

bool UsesUnit(const WinogradShape& shape) { return UnitProducts::Suits(shape.in.channels, FiltersAtATime(shape)); }

int64_t BlockSize(const WinogradShape& shape) {
  // Both sets of matrices of a block should fit into the second level caches, but a block must not be so small that
  // reading and writing the sums, once per block, takes longer than the products; the matrix unit is done sooner.
  constexpr int64_t kCache = 1536 * 1024, kLeast = 128, kLeastOfUnit = 256;
  const int64_t threads = omp_get_max_threads();
  const int64_t per_tile = kMatrices * (shape.in.channels + shape.out.channels) * kNumber;
  const int64_t wanted = std::max(threads * kCache / per_tile, UsesUnit(shape) ? kLeastOfUnit : kLeast);
  const int64_t blocks = (shape.Tiles() + wanted - 1) / wanted;
  return (shape.Tiles() + blocks - 1) / blocks;
}

}  // namespace

bool SuitsWinograd(const WinogradShape& shape) {
  // Training transforms the filters at every step and reads their matrices for every block of tiles.
  constexpr int64_t kLeastChannels = 32, kLeastTiles = 48, kChannelsPerTile = 8;
  const int64_t in = shape.in.channels, out = shape.out.channels;
  return in % kWinogradLanes == 0 && out % kWinogradLanes == 0 && std::min(in, out) >= kLeastChannels &&
         shape.pad <= 2 && shape.Tiles() >= std::max(kLeastTiles, std::max(in, out) / kChannelsPerTile);
}

WinogradFilterGradient::WinogradFilterGradient(const WinogradShape& shape)
    : shape_(shape), filters_(FiltersAtATime(shape)), block_(BlockSize(shape)) {
  if (UsesUnit(shape)) {
    by_unit_.emplace(kMatrices, shape.in.channels, block_, filters_);
  } else {
    first_.emplace(kMatrices, shape.in.channels, block_, filters_, false);
    further_.emplace(kMatrices, shape.in.channels, block_, filters_, true);
  }
}

int64_t WinogradFilterGradient::ScratchBytes() const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  return AlignedSize(std::max(in, out) * kNumber) + MatricesBytes(block_ * in, kNumber) +
         MatricesBytes(block_ * filters_, kNumber) + MatricesBytes(in * filters_, kFloat) +
         (by_unit_ ? by_unit_->ScratchBytes() : std::max(first_->ScratchBytes(), further_->ScratchBytes()));
}

void WinogradFilterGradient::MultiplyShare(const BFloat16* maps, const BFloat16* gradients, bool adds, float* sums,
                                           char* scratch) const {
  if (by_unit_) { return by_unit_->RunShare(maps, gradients, adds, sums, scratch); }
  (adds ? further_ : first_)->RunShare(maps, gradients, sums, scratch);
}

void WinogradFilterGradient::Run(const BFloat16* x, const BFloat16* dy, float* gradient, char* scratch) const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  BFloat16* const zeros = reinterpret_cast<BFloat16*>(scratch);
  BFloat16* const maps = reinterpret_cast<BFloat16*>(scratch += AlignedSize(std::max(in, out) * kNumber));
  BFloat16* const gradients = reinterpret_cast<BFloat16*>(scratch += MatricesBytes(block_ * in, kNumber));
  float* const sums = reinterpret_cast<float*>(scratch += MatricesBytes(block_ * filters_, kNumber));
  scratch += MatricesBytes(in * filters_, kFloat);
  std::fill_n(zeros, std::max(in, out), BFloat16{});
  const MapTransforms<BFloat16>& transforms = kTileTransforms.maps.bfloat16;
#pragma omp parallel
  for (int64_t filter = 0; filter < out; filter += filters_) {
    for (int64_t first = 0; first < shape_.Tiles(); first += block_) {
      // The matrices of a single block of maps serve all filters.
      const bool has_maps = filter > 0 && block_ >= shape_.Tiles();
      const Share share(block_);
      for (int64_t i = share.begin; i < share.end; ++i) {
        // Tiles that only fill up the last block are zeros and add nothing.
        const TilePlace place = PlaceOf(shape_, first + i);
        const bool real = first + i < shape_.Tiles();
        const BFloat16* pixels[kPatch * kPatch];
        const auto visit = [&](int64_t p, const BFloat16* pixel) {
          pixels[p] = real && pixel != nullptr ? pixel : zeros;
        };
        if (!has_maps) {
          ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch, visit);
          transforms.TransformPatch({}, pixels, nullptr, in, maps + i * in, {MatrixStep(block_ * in, sizeof(*maps))});
        }
        ForSquare(dy, shape_.out, place.image, place.row, place.column, kTile, [&](int64_t p, const BFloat16* pixel) {
          pixels[p] = real && pixel != nullptr ? pixel + filter : zeros;
        });
        transforms.TransformTileGradient({}, pixels, nullptr, filters_, gradients + i * filters_,
                                         {MatrixStep(block_ * filters_, kNumber)});
      }
#pragma omp barrier
      MultiplyShare(maps, gradients, first > 0, sums, scratch);
#pragma omp barrier
    }
    const int64_t step = MatrixStep(in * filters_, kFloat);
    TransformShare({kTileTransforms.TransformFilterGradients, sums, step, gradient}, filter, filters_, in);
  }
}

}  // namespace insightface
