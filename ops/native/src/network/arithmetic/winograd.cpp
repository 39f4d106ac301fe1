#include "network/arithmetic/winograd.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/squares.h"

namespace insightface {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kMatrices = kWinogradMatrices;
constexpr int64_t kFloat = static_cast<int64_t>(sizeof(float));

TilePlace PlaceOf(const WinogradShape& shape, int64_t tile) {
  const int64_t columns = shape.TileColumns(), rows = shape.TileRows();
  return {tile / (rows * columns), tile / columns % rows * kTile, tile % columns * kTile};
}

int64_t MatricesBytes(int64_t numbers, int64_t number_bytes) {
  return kMatrices * MatrixStep(numbers, number_bytes) * number_bytes;
}

int64_t BlockSize(const WinogradShape& shape, int64_t number_bytes, bool by_unit) {
  // Both sets of matrices of a block should fit into the second level caches, but a block must not be so small that
  // reading the filters, once per block, takes longer than using them; the matrix unit is done with them sooner.
  constexpr int64_t kCache = 1536 * 1024, kLeast = 128, kLeastOfUnit = 256;
  const int64_t threads = omp_get_max_threads();
  const int64_t per_tile = kMatrices * (shape.in.channels + shape.out.channels) * number_bytes;
  const int64_t wanted = std::max(threads * kCache / per_tile, by_unit ? kLeastOfUnit : kLeast);
  const int64_t blocks = (shape.Tiles() + wanted - 1) / wanted;
  return (shape.Tiles() + blocks - 1) / blocks;
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

template<typename T>
bool UsesUnit(const WinogradShape& shape) {
  return kTypeOf<T> == NumberType::kBFloat16 && UnitProducts::Suits(shape.in.channels, FiltersAtATime(shape));
}

}  // namespace

bool SuitsWinograd(const WinogradShape& shape) {
  // Training transforms the filters at every step and reads their matrices for every block of tiles.
  constexpr int64_t kLeastChannels = 32, kLeastTiles = 48, kChannelsPerTile = 8;
  const int64_t in = shape.in.channels, out = shape.out.channels;
  return in % kWinogradLanes == 0 && out % kWinogradLanes == 0 && std::min(in, out) >= kLeastChannels &&
         shape.pad <= 2 && shape.Tiles() >= std::max(kLeastTiles, std::max(in, out) / kChannelsPerTile);
}

int64_t WinogradFilters::MatricesBytes() const { return insightface::MatricesBytes(filters_ * channels_, kFloat); }

void WinogradFilters::Transform(const float* weights, float* matrices) const {
  const int64_t row = channels_ * kWinogradTaps, step = MatrixStep(filters_ * channels_, kFloat);
  if (reversed_) {
    ParallelRows(filters_, [&](int64_t begin, int64_t end, int) {
      for (int64_t f = begin; f < end; ++f) {
        kTileTransforms.TransformFilters(weights + f * row, kWinogradTaps, true, channels_, matrices + f * channels_,
                                         step);
      }
    });
  } else {
    ParallelRows(channels_, [&](int64_t begin, int64_t end, int) {
      for (int64_t c = begin; c < end; ++c) {
        kTileTransforms.TransformFilters(weights + c * kWinogradTaps, row, false, filters_, matrices + c * filters_,
                                         step);
      }
    });
  }
}

WinogradConvolution::WinogradConvolution(const WinogradShape& shape)
    : shape_(shape),
      block_(BlockSize(shape, kFloat, false)),
      products_(NumberType::kFloat32, kMatrices, block_, shape.in.channels, shape.out.channels, false, false) {}

int64_t WinogradConvolution::ScratchBytes() const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  return AlignedSize(in * kFloat) + MatricesBytes(block_ * in, kFloat) + MatricesBytes(block_ * out, kFloat) +
         products_.ScratchBytes();
}

void WinogradConvolution::Run(const float* x, const float* filters, const WinogradEpilogue& epilogue, float* y,
                              char* scratch) const {
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  float* const zeros = reinterpret_cast<float*>(scratch);
  float* const maps = reinterpret_cast<float*>(scratch += AlignedSize(in * kFloat));
  float* const products = reinterpret_cast<float*>(scratch += MatricesBytes(block_ * in, kFloat));
  scratch += MatricesBytes(block_ * out, kFloat);
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
      kTileTransforms.maps.float32.TransformPatch({}, pixels, nullptr, in, maps + i * in,
                                                  {MatrixStep(block_ * in, sizeof(*maps))});
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
      kTileTransforms.TransformProducts({}, products + i * out, MatrixStep(block_ * out, kFloat), out,
                                        {epilogue.bias, epilogue.slope, adds ? addends : nullptr}, pixels);
    }
  }
}

template<typename T>
WinogradFilterGradient<T>::WinogradFilterGradient(const WinogradShape& shape)
    : shape_(shape),
      filters_(FiltersAtATime(shape)),
      block_(BlockSize(shape, sizeof(T), UsesUnit<T>(shape))) {
  if (UsesUnit<T>(shape)) {
    by_unit_.emplace(kMatrices, shape.in.channels, block_, filters_);
  } else {
    first_.emplace(kTypeOf<T>, kMatrices, shape.in.channels, block_, filters_, true, false);
    further_.emplace(kTypeOf<T>, kMatrices, shape.in.channels, block_, filters_, true, true);
  }
}

template<typename T>
int64_t WinogradFilterGradient<T>::ScratchBytes() const {
  constexpr int64_t kNumber = sizeof(T);
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  return AlignedSize(std::max(in, out) * kNumber) + MatricesBytes(block_ * in, kNumber) +
         MatricesBytes(block_ * filters_, kNumber) + MatricesBytes(in * filters_, kFloat) +
         (by_unit_ ? by_unit_->ScratchBytes() : std::max(first_->ScratchBytes(), further_->ScratchBytes()));
}

template<typename T>
void WinogradFilterGradient<T>::MultiplyShare(const T* maps, const T* gradients, bool adds, float* sums,
                                              char* scratch) const {
  if constexpr (kTypeOf<T> == NumberType::kBFloat16) {
    if (by_unit_) { return by_unit_->RunShare(maps, gradients, adds, sums, scratch); }
  }
  (adds ? further_ : first_)->RunShare(maps, gradients, sums, scratch);
}

template<typename T>
void WinogradFilterGradient<T>::Run(const T* x, const T* dy, float* gradient, char* scratch) const {
  constexpr int64_t kNumber = sizeof(T);
  const int64_t in = shape_.in.channels, out = shape_.out.channels;
  T* const zeros = reinterpret_cast<T*>(scratch);
  T* const maps = reinterpret_cast<T*>(scratch += AlignedSize(std::max(in, out) * kNumber));
  T* const gradients = reinterpret_cast<T*>(scratch += MatricesBytes(block_ * in, kNumber));
  float* const sums = reinterpret_cast<float*>(scratch += MatricesBytes(block_ * filters_, kNumber));
  scratch += MatricesBytes(in * filters_, kFloat);
  std::fill_n(zeros, std::max(in, out), T{});
  const MapTransforms<T>& transforms = kTileTransforms.maps.Of<T>();
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
        const T* pixels[kPatch * kPatch];
        const auto visit = [&](int64_t p, const T* pixel) { pixels[p] = real && pixel != nullptr ? pixel : zeros; };
        if (!has_maps) {
          ForSquare(x, shape_.in, place.image, place.row - shape_.pad, place.column - shape_.pad, kPatch, visit);
          transforms.TransformPatch({}, pixels, nullptr, in, maps + i * in, {MatrixStep(block_ * in, sizeof(*maps))});
        }
        ForSquare(dy, shape_.out, place.image, place.row, place.column, kTile, [&](int64_t p, const T* pixel) {
          pixels[p] = real && pixel != nullptr ? pixel + filter : zeros;
        });
        transforms.TransformTileGradient({}, pixels, nullptr, filters_, gradients + i * filters_,
                                         {MatrixStep(block_ * filters_, kNumber)});
      }
#pragma omp barrier
      MultiplyShare(maps, gradients, first > 0, sums, scratch);
#pragma omp barrier
    }
    const Share share(in);
    for (int64_t row = share.begin; row < share.end; ++row) {
      kTileTransforms.TransformFilterGradients(sums + row * filters_, MatrixStep(in * filters_, kFloat), filters_,
                                               gradient + (filter * in + row) * kWinogradTaps, in * kWinogradTaps);
    }
  }
}

template class WinogradFilterGradient<float>;
template class WinogradFilterGradient<BFloat16>;

}  // namespace insightface
