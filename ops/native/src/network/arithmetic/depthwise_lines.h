// Lines of a depthwise 3x3 convolution with padding 1 that reads a normalised map, forward and backward. A line of an
// image is first spread: as float32, a vector of channels after the other, with a zero pixel at both ends. The taps of
// all pixels then read neighbouring vectors.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"
#include "network/arithmetic/channel_rows.h"

namespace insightface {

constexpr int64_t kDepthwiseTaps = 9;

// The numbers of a spread line; channels are rounded up to whole vectors of any instruction set.
constexpr int64_t SpreadNumbers(int64_t width, int64_t channels) { return (width + 2) * ((channels + 15) / 16 * 16); }

// One input line of the backward pass.
template<typename T>
struct DepthwiseGradientLine {
  const T* x;                  // [width, channels], before the normalisation
  int64_t width, channels;
  int64_t stride;              // 1 or 2
  const float* dy[3];          // the spread output line that filter row i meets here; null: none
  const float* weight;         // [taps, channels]
  ChannelAffine affine;
};

// What the first pass over an input line computes: adds sums, and writes the gradient of the PReLU's output.
template<typename T>
struct DepthwiseSums {
  float* weight;        // [taps, channels]: the filters' gradient
  ChannelSums channel;  // of the normalisation
  T* dv;                // [width, channels]; may be null
};

template<typename T>
struct DepthwiseLines {
  // Spreads PReLU(v), v = the normalised x [width, channels].
  void (*SpreadNormalised)(const T* x, int64_t width, int64_t channels, const ChannelAffine& affine, float* line);
  // Spreads x itself.
  void (*Spread)(const T* x, int64_t width, int64_t channels, float* line);
  // y [width, channels] of one output line from the spread input lines above, at and below it; null: outside. With a
  // bias y = convolution + bias, and with a slope PReLU of that (null: none).
  void (*Convolve)(const float* const* lines, int64_t in_width, int64_t stride, const float* weight, const float* bias,
                   const float* slope, int64_t width, int64_t channels, T* y);
  void (*AddGradientSums)(const DepthwiseGradientLine<T>& line, const DepthwiseSums<T>& sums);
  // With stride 2: writes the gradient of x, dx [width, channels], once the sums over all lines are known.
  void (*InputGradient)(const DepthwiseGradientLine<T>& line, const ChannelGradient& gradient, T* dx);
  // Spreads the gradient of a normalisation's input x [width, channels], computed from dy, that of its output.
  void (*SpreadGradient)(const T* x, const T* dy, int64_t width, int64_t channels, const ChannelGradient& gradient,
                         float* line);
};
INSIGHTFACE_LOOPS(BothTypes<DepthwiseLines>, kDepthwiseLines)

}  // namespace insightface
