#include "network/arithmetic/depthwise_planes.h"

#include "network/arithmetic/vectors.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int kTaps = 3;        // of a filter row
constexpr int kMostPixels = 4;  // whose sums, columns and weights fit the registers

// The outputs that are computed together, and which of their outer columns are in the image.
struct Reach {
  bool left, right;
};

template<typename T, int stride, int pixels>
INSIGHTFACE_INLINE void ConvolvePixels(const float* const* lines, const Reach& reach, const PlaneFilter& filter,
                                       int64_t channels, T* y) {
  constexpr int kColumns = (pixels - 1) * stride + kTaps;
  const Vector bias = LoadWhole(filter.bias);
  Vector sums[pixels];
  for (int p = 0; p < pixels; ++p) { sums[p] = bias; }
  for (int i = 0; i < kTaps; ++i) {
    if (lines[i] == nullptr) { continue; }
    Vector columns[kColumns];
    for (int j = 0; j < kColumns; ++j) {
      const bool is_there = j == 0 ? reach.left : j < kColumns - 1 || reach.right;
      columns[j] = is_there ? LoadWhole(lines[i] + (j - 1) * kLanes) : Vector{};
    }
    const float* const weight = filter.weight + kTaps * i * channels;
    const Vector w[kTaps] = {LoadWhole(weight), LoadWhole(weight + channels), LoadWhole(weight + 2 * channels)};
    for (int j = 0; j < kTaps; ++j) {
      for (int p = 0; p < pixels; ++p) { sums[p] += columns[p * stride + j] * w[j]; }
    }
  }
  const Vector slope = filter.slope != nullptr ? LoadWhole(filter.slope) : Vector{} + 1.0f;
  for (int p = 0; p < pixels; ++p) {
    StoreWhole(Select(sums[p], sums[p], sums[p] * slope), y + p * channels);
  }
}

template<typename T, int stride, int pixels>
INSIGHTFACE_INLINE void ConvolveAt(const float* const* lines, int64_t pixel, int64_t in_width, const PlaneFilter& filter,
                                   int64_t channels, T* y) {
  const float* from[kTaps];
  for (int i = 0; i < kTaps; ++i) { from[i] = lines[i] != nullptr ? lines[i] + pixel * stride * kLanes : nullptr; }
  const Reach reach{pixel > 0, (pixel + pixels - 1) * stride + 1 < in_width};
  ConvolvePixels<T, stride, pixels>(from, reach, filter, channels, y + pixel * channels);
}

template<typename T, int stride>
INSIGHTFACE_INLINE void ConvolveLine(const float* const* lines, int64_t in_width, const PlaneFilter& filter,
                                     int64_t out_width, int64_t channels, T* y) {
  int64_t pixel = 0;
  for (; pixel + kMostPixels <= out_width; pixel += kMostPixels) {
    ConvolveAt<T, stride, kMostPixels>(lines, pixel, in_width, filter, channels, y);
  }
  switch (out_width - pixel) {
    case 3: return ConvolveAt<T, stride, 3>(lines, pixel, in_width, filter, channels, y);
    case 2: return ConvolveAt<T, stride, 2>(lines, pixel, in_width, filter, channels, y);
    case 1: return ConvolveAt<T, stride, 1>(lines, pixel, in_width, filter, channels, y);
    default: return;
  }
}

template<typename T>
void Convolve(const PlaneLines& in, int64_t row, int64_t stride, const PlaneFilter& filter, int64_t out_width,
              int64_t channels, T* y) {
  const float* lines[kTaps];
  for (int i = 0; i < kTaps; ++i) {
    const int64_t line = row * stride + i - 1;
    lines[i] = line < 0 || line >= in.height ? nullptr : in.plane + (line - in.first) * in.width * kLanes;
  }
  stride == 1 ? ConvolveLine<T, 1>(lines, in.width, filter, out_width, channels, y)
              : ConvolveLine<T, 2>(lines, in.width, filter, out_width, channels, y);
}

template<typename T>
constexpr DepthwisePlanes<T> kLoops = {kLanes, Convolve<T>};

}  // namespace

const BothTypes<DepthwisePlanes> kDepthwisePlanes = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
