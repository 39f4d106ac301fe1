// Arithmetic along rows of channels, [rows, channels], one thread's share: the inner loops of the layers here.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

// One number per channel each. v = (x - mean) * scale + shift is what a batch normalisation makes of x; a PReLU with
// `slope` may follow it (null: none).
struct ChannelAffine {
  const float* mean;
  const float* scale;
  const float* shift;
  const float* slope;
};

// Sums over rows, one number per channel.
struct ChannelSums {
  float* gradient;         // of g, the gradient of v
  float* gradient_offset;  // of g * (x - mean)
  float* slope;            // of the output's gradient * v where v <= 0; null without a slope
};

// Adds the sums of x - origin and of their squares to `sums` and `squares`.
void AddMoments(const float* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares);
void AddMoments(const BFloat16* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares);

// y = PReLU(v) or v + addend; addend may be null.
void ApplyAffine(const float* x, const float* addend, int64_t rows, int64_t channels, const ChannelAffine& affine,
                 float* y);
void ApplyAffine(const BFloat16* x, const BFloat16* addend, int64_t rows, int64_t channels, const ChannelAffine& affine,
                 BFloat16* y);

// Adds what the backward pass needs of every row to `sums`.
void AddGradientSums(const float* x, const float* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                     const ChannelSums& sums);
void AddGradientSums(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                     const ChannelSums& sums);

// dx = g * scale + (x - mean) * tilt + level, added to dx when `adds`.
void ApplyGradient(const float* x, const float* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                   const float* tilt, const float* level, bool adds, float* dx);
void ApplyGradient(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                   const float* tilt, const float* level, bool adds, BFloat16* dx);

}  // namespace insightface
