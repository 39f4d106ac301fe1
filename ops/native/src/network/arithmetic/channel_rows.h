// The inner loops of the layers: arithmetic along rows of channels, [rows, channels], for one thread's share of them.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

// One number per channel each. v = (x - mean) * scale + shift is the result of a batch normalisation; a PReLU with
// `slope` may follow it (null: none).
struct ChannelAffine {
  const float* mean;
  const float* scale;
  const float* shift;
  const float* slope;
};

// The gradient of x: dx = g * scale + (x - mean) * offset_factor + constant, where g is the gradient of v.
struct ChannelGradient {
  ChannelAffine affine;
  const float* offset_factor;
  const float* constant;
};

// Sums over rows, one number per channel.
struct ChannelSums {
  float* gradient;         // of g, the gradient of v
  float* gradient_offset;  // of g * (x - mean)
  float* slope;            // of the output's gradient * v where v <= 0; null without a slope
};

template<typename T>
struct ChannelRows {
  // Adds the sums of x - origin and of their squares to `sums` and `squares`.
  void (*AddMoments)(const T* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares);

  // y = PReLU(v) or v + addend; `addend` may be null.
  void (*ApplyAffine)(const T* x, const T* addend, int64_t rows, int64_t channels, const ChannelAffine& affine, T* y);

  // Adds the sums that the backward pass needs to `sums`.
  void (*AddGradientSums)(const T* x, const T* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                          const ChannelSums& sums);

  // dx from dy, the output's gradient; added to dx if `adds`.
  void (*ApplyGradient)(const T* x, const T* dy, int64_t rows, int64_t channels, const ChannelGradient& gradient,
                        bool adds, T* dx);
};
INSIGHTFACE_LOOPS(BothTypes<ChannelRows>, kChannelRows)

}  // namespace insightface
