// A depthwise 3x3 convolution with padding 1 that reads planes: the pixels of an image's lines one behind the other, a
// vector of channels each, as products of rows can write them (pointwise_products.h).
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

// Lines of one plane, and what of the image they are.
struct PlaneLines {
  const float* plane;  // begins with line `first` of the image
  int64_t first;
  int64_t height, width;  // of the image
};

// The arrays of the convolution, from the plane's first channel on: weight is [9, channels]; slope may be null.
struct PlaneFilter {
  const float* weight;
  const float* bias;
  const float* slope;
};

template<typename T>
struct DepthwisePlanes {
  int lanes;  // channels of a plane
  // y [out_width, channels], from the plane's first channel on, of output line `row`: PReLU(convolution + bias).
  void (*Convolve)(const PlaneLines& lines, int64_t row, int64_t stride, const PlaneFilter& filter, int64_t out_width,
                   int64_t channels, T* y);
};
INSIGHTFACE_LOOPS(BothTypes<DepthwisePlanes>, kDepthwisePlanes)

}  // namespace insightface
