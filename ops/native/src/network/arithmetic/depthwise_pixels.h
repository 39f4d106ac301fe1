// The inner loops of the depthwise convolution's gradients: channels of single pixels.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

// One output that an input pixel contributes to: where its gradient starts, and the weights, one per channel.
template<typename T>
struct DepthwiseTap {
  const T* dy;
  const float* weight;
};

template<typename T>
struct DepthwisePixels {
  // dx = the sum of dy * weight over `count` taps.
  void (*GatherPixel)(const DepthwiseTap<T>* taps, int64_t count, int64_t channels, T* dx);
  // sums[c] += x * dy over `pixels` pixels, which lie x_step and channels numbers apart.
  void (*AddProducts)(const T* x, int64_t x_step, const T* dy, int64_t pixels, int64_t channels, float* sums);
  // sums[c] += dy over `pixels` pixels.
  void (*AddPixels)(const T* dy, int64_t pixels, int64_t channels, float* sums);
};
INSIGHTFACE_LOOPS(BothTypes<DepthwisePixels>, kDepthwisePixels)

}  // namespace insightface
