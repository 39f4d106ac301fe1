#include "network/arithmetic/winograd_filter_gradient.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/filter_gradient_blocks.h"
#include "network/arithmetic/tile_products.h"

namespace insightface {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kMatrices = kWinogradMatrices;
constexpr int64_t kLanes = kWinogradLanes;
constexpr int64_t kFloat = static_cast<int64_t>(sizeof(float));

int64_t Bytes(int64_t step) { return AlignedSize(kMatrices * step * kFloat); }

// Each block of tiles reads and writes all sums, so it should not be small; with few channels the maps are large, and
// memory is scarce.
int64_t Blocks(int64_t tiles, int64_t channels) {
  constexpr int64_t kLeast = 256, kFew = 160, kFewChannels = 128, kOfThread = 16;
  const int64_t least = channels <= kFewChannels ? kFew : kLeast;
  const int64_t wanted = std::max(omp_get_max_threads() * kOfThread, least);
  return (tiles + wanted - 1) / wanted;
}

}  // namespace

FusedFilterGradient::FusedFilterGradient(const WinogradShape& shape)
    : shape_(shape),
      grid_(shape.batch, shape.out, kTile, true),
      filters_(ColumnsAtATime(kMatrices, shape.in.channels, shape.out.channels, 5 * 1000 * 1000)),
      blocks_(Blocks(grid_.Tiles(), shape.in.channels + filters_)),
      block_((grid_.Tiles() + blocks_ - 1) / blocks_),
      maps_step_(MatrixStep(block_ * shape.in.channels, kFloat)),
      gradients_step_(MatrixStep(block_ * filters_, kFloat)),
      sums_step_(MatrixStep(shape.in.channels * filters_, kFloat)) {}

int64_t FusedFilterGradient::ScratchBytes() const {
  const int64_t zeros = AlignedSize(std::max(shape_.in.channels, shape_.out.channels) * kFloat);
  return zeros + Bytes(maps_step_) + Bytes(gradients_step_) + Bytes(sums_step_);
}

void FusedFilterGradient::Run(const float* x, const float* dy, float* gradient, char* scratch) const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  float* const zeros = reinterpret_cast<float*>(scratch);
  scratch += AlignedSize(std::max(in, out) * kFloat);
  std::fill_n(zeros, std::max(in, out), 0.0f);
  const Matrices matrices{reinterpret_cast<float*>(scratch), reinterpret_cast<float*>(scratch + Bytes(maps_step_)),
                          reinterpret_cast<float*>(scratch + Bytes(maps_step_) + Bytes(gradients_step_))};
  ForFilterBlocks(
      grid_, blocks_, out, filters_, in,
      [&](const TileBlock& block, int64_t filter, bool keeps_maps) {
        Transform(block, keeps_maps ? nullptr : x, dy, filter, zeros, matrices);
      },
      [&](const TileBlock& block, bool adds) { Multiply(block, adds, matrices); },
      {kTileTransforms.TransformFilterGradients, matrices.sums, sums_step_, gradient});
}

// Transforms the calling thread's share of the tiles; without `x` only the gradients.
void FusedFilterGradient::Transform(const TileBlock& block, const float* x, const float* dy, int64_t filter,
                                    const float* zeros, const Matrices& matrices) const {
  const MapTransforms<float>& transforms = kTileTransforms.maps.float32;
  const auto patch = [&](int64_t i, const float** pixels) {
    const TilePlace& place = block.tiles[i].place;
    ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch,
              [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel : zeros; });
  };
  const auto tile = [&](int64_t i, const float** pixels) {
    const TilePlace& place = block.tiles[i].place;
    ForSquare(dy, shape_.out, place.image, place.row, place.column, kTile,
              [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel + filter : zeros; });
  };
  const Share share(static_cast<int64_t>(block.tiles.size()));
  if (x != nullptr) {
    ForTiles<kPatch * kPatch, const float*>(share.begin, share.end, patch, [&](int64_t i, auto pixels, auto next) {
      transforms.TransformPatch(block.tiles[i].kind, pixels, next, shape_.in.channels, matrices.maps + i * kLanes,
                                {maps_step_, block_ * kLanes});
    });
  }
  ForTiles<kTile * kTile, const float*>(share.begin, share.end, tile, [&](int64_t i, auto pixels, auto next) {
    transforms.TransformTileGradient(block.tiles[i].kind, pixels, next, filters_, matrices.gradients + i * kLanes,
                                     {gradients_step_, block_ * kLanes});
  });
}

// Computes the calling thread's share of the products: some columns of some matrices, by the tiles that contribute.
void FusedFilterGradient::Multiply(const TileBlock& block, bool adds, const Matrices& matrices) const {
  const auto tiles_of = [&](int64_t m) { return block.OfMatrix(m, kPatch, kWinogradPoint); };
  const int64_t panels = filters_ / kPanelColumns;
  int64_t work = 0, done = 0;
  for (int64_t m = 0; m < kMatrices; ++m) { work += (tiles_of(m).second - tiles_of(m).first) * panels; }
  const Share share(work);
  for (int64_t m = 0; m < kMatrices; ++m) {
    const auto [from, to] = tiles_of(m);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const bool is_own = share.begin <= done && done < share.end;
      done += to - from;
      if (!is_own) { continue; }
      const float* const gradients =
          matrices.gradients + m * gradients_step_ + (2 * panel * block_ + from) * kLanes;
      for (int64_t row = 0; row < shape_.in.channels; row += kLanes) {
        kTileProducts.MultiplyTransposed(matrices.maps + m * maps_step_ + row * block_ + from * kLanes, gradients,
                                         block_ * kLanes, to - from, adds,
                                         matrices.sums + m * sums_step_ + row * filters_ + panel * kPanelColumns,
                                         filters_);
      }
    }
  }
}

}  // namespace insightface
