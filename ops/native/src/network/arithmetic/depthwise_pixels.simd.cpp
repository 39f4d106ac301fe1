#include "network/arithmetic/depthwise_pixels.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Channels whose sums stay in registers.
constexpr int64_t kLanes = 32;

// The number of taps is a constant: only then do the channels become vectors.
template<int count, typename T>
INSIGHTFACE_INLINE void GatherTaps(const DepthwiseTap<T>* taps, int64_t channels, T* dx) {
#pragma omp simd
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0;
    for (int t = 0; t < count; ++t) { sum += Load(taps[t].dy[c]) * taps[t].weight[c]; }
    Store(sum, dx + c);
  }
}

template<typename T>
void GatherPixel(const DepthwiseTap<T>* taps, int64_t count, int64_t channels, T* dx) {
  switch (count) {  // the counts of 3x3 filters, and of 5x5 filters with stride 2
    case 1: return GatherTaps<1>(taps, channels, dx);
    case 2: return GatherTaps<2>(taps, channels, dx);
    case 3: return GatherTaps<3>(taps, channels, dx);
    case 4: return GatherTaps<4>(taps, channels, dx);
    case 6: return GatherTaps<6>(taps, channels, dx);
    case 9: return GatherTaps<9>(taps, channels, dx);
    default: break;
  }
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t lanes = channels - c < kLanes ? channels - c : kLanes;
    float sums[kLanes] = {};
    for (int64_t t = 0; t < count; ++t) {
#pragma omp simd
      for (int64_t lane = 0; lane < lanes; ++lane) {
        sums[lane] += Load(taps[t].dy[c + lane]) * taps[t].weight[c + lane];
      }
    }
    for (int64_t lane = 0; lane < lanes; ++lane) { Store(sums[lane], dx + c + lane); }
  }
}

template<typename T>
void AddProducts(const T* x, int64_t x_step, const T* dy, int64_t pixels, int64_t channels, float* sums) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    float part[kLanes] = {};
    for (int64_t p = 0; p < pixels; ++p) {
      const T* const from_x = x + p * x_step + c;
      const T* const from_dy = dy + p * channels + c;
      for (int64_t lane = 0; lane < kLanes; ++lane) { part[lane] += Load(from_x[lane]) * Load(from_dy[lane]); }
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) { sums[c + lane] += part[lane]; }
  }
  for (; c < channels; ++c) {
    float part = 0;
    for (int64_t p = 0; p < pixels; ++p) { part += Load(x[p * x_step + c]) * Load(dy[p * channels + c]); }
    sums[c] += part;
  }
}

template<typename T>
void AddPixels(const T* dy, int64_t pixels, int64_t channels, float* sums) {
  for (int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) { sums[c] += Load(dy[p * channels + c]); }
  }
}

template<typename T>
constexpr DepthwisePixels<T> kLoops = {GatherPixel<T>, AddProducts<T>, AddPixels<T>};

}  // namespace

const BothTypes<DepthwisePixels> kDepthwisePixels = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
