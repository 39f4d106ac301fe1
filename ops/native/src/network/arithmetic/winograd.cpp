#include "network/arithmetic/winograd.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"

namespace insightface {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kMatrices = kWinogradMatrices;
constexpr int64_t kFloat = static_cast<int64_t>(sizeof(float));

// The place of a tile: its first pixel of the output.
struct TilePlace {
  int64_t image, row, column;
};

TilePlace PlaceOf(const WinogradShape& shape, int64_t tile) {
  const int64_t columns = shape.TileColumns(), rows = shape.TileRows();
  return {tile / (rows * columns), tile / columns % rows * kTile, tile % columns * kTile};
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

int64_t BlockSize(const WinogradShape& shape, int64_t number_bytes) {
  // Both sets of matrices of a block should fit into the second level caches, but a block must not be so small that
  // reading the filters, once per block, takes longer than using them.
  constexpr int64_t kCache = 1536 * 1024, kLeast = 128;
  const int64_t threads = omp_get_max_threads();
  const int64_t per_tile = kMatrices * (shape.in.channels + shape.out.channels) * number_bytes;
  const int64_t wanted = std::max(threads * kCache / per_tile, kLeast);
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

int64_t WinogradFilters::MatricesBytes() const { return AlignedSize(kMatrices * filters_ * channels_ * kFloat); }

void WinogradFilters::Transform(const float* weights, float* matrices) const {
  const int64_t row = channels_ * kWinogradTaps, size = filters_ * channels_;
  if (reversed_) {
    ParallelRows(filters_, [&](int64_t begin, int64_t end, int) {
      for (int64_t f = begin; f < end; ++f) {
        kTileTransforms.TransformFilters(weights + f * row, kWinogradTaps, true, channels_, matrices + f * channels_,
                                         size);
      }
    });
  } else {
    ParallelRows(channels_, [&](int64_t begin, int64_t end, int) {
      for (int64_t c = begin; c < end; ++c) {
        kTileTransforms.TransformFilters(weights + c * kWinogradTaps, row, false, filters_, matrices + c * filters_,
                                         size);
      }
    });
  }
}

WinogradConvolution::WinogradConvolution(const WinogradShape& shape)
    : shape_(shape),
      block_(BlockSize(shape, kFloat)),
      products_(NumberType::kFloat32, kMatrices, block_, shape.in.channels, shape.out.channels, false, false) {}

int64_t WinogradConvolution::ScratchBytes() const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  return AlignedSize(in * kFloat) + AlignedSize(kMatrices * block_ * in * kFloat) +
         AlignedSize(kMatrices * block_ * out * kFloat) + products_.ScratchBytes();
}

void WinogradConvolution::Run(const float* x, const float* filters, const WinogradEpilogue& epilogue, float* y,
                              char* scratch) const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  float* const zeros = reinterpret_cast<float*>(scratch);
  float* const maps = reinterpret_cast<float*>(scratch += AlignedSize(in * kFloat));
  float* const products = reinterpret_cast<float*>(scratch += AlignedSize(kMatrices * block_ * in * kFloat));
  scratch += AlignedSize(kMatrices * block_ * out * kFloat);
  const bool adds = epilogue.addend != nullptr;
  std::fill_n(zeros, in, 0.0f);
#pragma omp parallel
  for (int64_t first = 0; first < shape_.Tiles(); first += block_) {
    const Share share(std::min(block_, shape_.Tiles() - first));
    for (int64_t i = share.begin; i < share.end; ++i) {
      const TilePlace place = PlaceOf(shape_, first + i);
      const float* pixels[kPatch * kPatch];
      ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch,
                [&](int64_t p, const float* pixel) { pixels[p] = pixel != nullptr ? pixel : zeros; });
      kTileTransforms.maps.float32.TransformPatch(pixels, in, maps + i * in, block_ * in);
    }
#pragma omp barrier
    products_.RunShare(maps, filters, products, scratch);
#pragma omp barrier
    for (int64_t i = share.begin; i < share.end; ++i) {
      const TilePlace place = PlaceOf(shape_, first + i);
      float* pixels[kTile * kTile];
      const float* addends[kTile * kTile];
      ForSquare(y, shape_.out, place.image, place.row, place.column, kTile, [&](int64_t p, float* pixel) {
        pixels[p] = pixel;
        if (adds && pixel != nullptr) { addends[p] = epilogue.addend + (pixel - y); }
      });
      kTileTransforms.TransformProducts(products + i * out, block_ * out, out,
                                        {epilogue.bias, epilogue.slope, adds ? addends : nullptr}, pixels);
    }
  }
}

template<typename T>
WinogradFilterGradient<T>::WinogradFilterGradient(const WinogradShape& shape)
    : shape_(shape),
      block_(BlockSize(shape, sizeof(T))),
      first_(kTypeOf<T>, kMatrices, shape.in.channels, block_, shape.out.channels, true, false),
      further_(kTypeOf<T>, kMatrices, shape.in.channels, block_, shape.out.channels, true, true) {}

template<typename T>
int64_t WinogradFilterGradient<T>::ScratchBytes() const {
  constexpr int64_t kNumber = sizeof(T);
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  return AlignedSize(std::max(in, out) * kNumber) + AlignedSize(kMatrices * block_ * in * kNumber) +
         AlignedSize(kMatrices * block_ * out * kNumber) + AlignedSize(kMatrices * in * out * kFloat) +
         std::max(first_.ScratchBytes(), further_.ScratchBytes());
}

template<typename T>
void WinogradFilterGradient<T>::Run(const T* x, const T* dy, float* gradient, char* scratch) const {
  constexpr int64_t kNumber = sizeof(T);
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  T* const zeros = reinterpret_cast<T*>(scratch);
  T* const maps = reinterpret_cast<T*>(scratch += AlignedSize(std::max(in, out) * kNumber));
  T* const gradients = reinterpret_cast<T*>(scratch += AlignedSize(kMatrices * block_ * in * kNumber));
  float* const sums = reinterpret_cast<float*>(scratch += AlignedSize(kMatrices * block_ * out * kNumber));
  scratch += AlignedSize(kMatrices * in * out * kFloat);
  std::fill_n(zeros, std::max(in, out), T{});
  const MapTransforms<T>& transforms = kTileTransforms.maps.Of<T>();
#pragma omp parallel
  {
    for (int64_t first = 0; first < shape_.Tiles(); first += block_) {
      const Share share(block_);
      for (int64_t i = share.begin; i < share.end; ++i) {
        // Tiles that only fill up the last block are zeros and add nothing.
        const TilePlace place = PlaceOf(shape_, first + i);
        const bool real = first + i < shape_.Tiles();
        const T* pixels[kPatch * kPatch];
        const auto visit = [&](int64_t p, const T* pixel) { pixels[p] = real && pixel != nullptr ? pixel : zeros; };
        ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch, visit);
        transforms.TransformPatch(pixels, in, maps + i * in, block_ * in);
        ForSquare(dy, shape_.out, place.image, place.row, place.column, kTile, visit);
        transforms.TransformTileGradient(pixels, out, gradients + i * out, block_ * out);
      }
#pragma omp barrier
      (first == 0 ? first_ : further_).RunShare(maps, gradients, sums, scratch);
#pragma omp barrier
    }
    const Share share(in);
    for (int64_t row = share.begin; row < share.end; ++row) {
      kTileTransforms.TransformFilterGradients(sums + row * out, in * out, out, gradient + row * kWinogradTaps,
                                               in * kWinogradTaps);
    }
  }
}

template class WinogradFilterGradient<float>;
template class WinogradFilterGradient<BFloat16>;

}  // namespace insightface
