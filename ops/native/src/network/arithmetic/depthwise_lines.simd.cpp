#include "network/arithmetic/depthwise_lines.h"

#include "network/arithmetic/vectors.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Channels of a pixel lie far from those of the next one, which no processor foresees: while a line is processed, the
// same place of the line after it is fetched, which the next call reads or writes. An address behind the map does
// no harm.
INSIGHTFACE_INLINE void FetchToRead(const void* place) { __builtin_prefetch(place, 0); }
INSIGHTFACE_INLINE void FetchToWrite(const void* place) { __builtin_prefetch(place, 1); }

template<typename T, typename Count, typename Map>
INSIGHTFACE_INLINE void SpreadMapped(const T* x, int64_t width, int64_t channels, int64_t c, Count count, float* line,
                                     const Map& map) {
  float* const group = line + c * (width + 2);
  StoreWhole(Vector{}, group);
  for (int64_t pixel = 0; pixel < width; ++pixel) {
    FetchToRead(x + (pixel + width) * channels + c);
    StoreWhole(map(LoadPart(x + pixel * channels + c, count)), group + (pixel + 1) * kLanes);
  }
  StoreWhole(Vector{}, group + (width + 1) * kLanes);
}

template<typename T>
void SpreadNormalised(const T* x, int64_t width, int64_t channels, const ChannelAffine& affine, float* line) {
  ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
    const Affine a = LoadAffine(affine, c, count);
    SpreadMapped(x, width, channels, c, count, line, [&](Vector value) __attribute__((always_inline)) {
      const Vector v = (value - a.mean) * a.scale + a.shift;
      return Select(v, v, v * a.slope);
    });
  });
}

template<typename T>
void Spread(const T* x, int64_t width, int64_t channels, float* line) {
  ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
    SpreadMapped(x, width, channels, c, count, line, [](Vector value) __attribute__((always_inline)) { return value; });
  });
}

template<typename T>
void SpreadGradient(const T* x, const T* dy, int64_t width, int64_t channels, const ChannelGradient& to, float* line) {
  ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
    const Affine a = LoadAffine(to.affine, c, count);
    const Vector factor = LoadPart(to.offset_factor + c, count), constant = LoadPart(to.constant + c, count);
    const T* own = dy + c;
    SpreadMapped(x, width, channels, c, count, line, [&](Vector value) __attribute__((always_inline)) {
      FetchToRead(own + width * channels);
      const Vector offset = value - a.mean, g = LoadPart(own, count);
      own += channels;
      return Select(offset * a.scale + a.shift, g, g * a.slope) * a.scale + offset * factor + constant;
    });
  });
}

// The line's result before it is written: y = PReLU(sum + bias); without the arrays, the sum.
struct LineEpilogue {
  const float* bias;
  const float* slope;
};

template<typename T, int stride, bool above, bool below>
INSIGHTFACE_INLINE void ConvolveLine(const float* const* lines, int64_t in_width, const float* weight,
                                     const LineEpilogue& epilogue, int64_t width, int64_t channels, T* y) {
  ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
    Vector w[kDepthwiseTaps];
    for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(weight + t * channels + c, count); }
    const int64_t group = c * (in_width + 2);
    const Vector bias = epilogue.bias != nullptr ? LoadPart(epilogue.bias + c, count) : Vector{};
    const Vector slope = epilogue.slope != nullptr ? LoadPart(epilogue.slope + c, count) : Vector{} + 1.0f;
    for (int64_t pixel = 0; pixel < width; ++pixel) {
      Vector sums[3] = {};  // of each filter row: shorter chains of additions, and less rounding
      for (int i = 0; i < 3; ++i) {
        if ((i == 0 && !above) || (i == 2 && !below)) { continue; }
        const float* const taps = lines[i] + group + pixel * stride * kLanes;
        for (int j = 0; j < 3; ++j) { sums[i] += LoadWhole(taps + j * kLanes) * w[3 * i + j]; }
      }
      FetchToWrite(y + (pixel + width) * channels + c);
      const Vector value = ((sums[0] + sums[1]) + sums[2]) + bias;
      StorePart(Select(value, value, value * slope), y + pixel * channels + c, count);
    }
  });
}

template<typename T, int stride>
INSIGHTFACE_INLINE void ConvolveWithStride(const float* const* lines, int64_t in_width, const float* weight,
                                           const LineEpilogue& epilogue, int64_t width, int64_t channels, T* y) {
  const bool above = lines[0] != nullptr, below = lines[2] != nullptr;
  if (above && below) {
    ConvolveLine<T, stride, true, true>(lines, in_width, weight, epilogue, width, channels, y);
  } else if (above) {
    ConvolveLine<T, stride, true, false>(lines, in_width, weight, epilogue, width, channels, y);
  } else if (below) {
    ConvolveLine<T, stride, false, true>(lines, in_width, weight, epilogue, width, channels, y);
  } else {
    ConvolveLine<T, stride, false, false>(lines, in_width, weight, epilogue, width, channels, y);
  }
}

template<typename T>
void Convolve(const float* const* lines, int64_t in_width, int64_t stride, const float* weight, const float* bias,
              const float* slope, int64_t width, int64_t channels, T* y) {
  const LineEpilogue epilogue{bias, slope};
  if (stride == 1) {
    ConvolveWithStride<T, 1>(lines, in_width, weight, epilogue, width, channels, y);
  } else {
    ConvolveWithStride<T, 2>(lines, in_width, weight, epilogue, width, channels, y);
  }
}

// A pixel of an input line, for one vector of channels: x - mean, and the normalised value.
struct Pixel {
  Vector offset, normal;
};
template<typename T, typename Count>
INSIGHTFACE_INLINE Pixel LoadPixel(const DepthwiseGradientLine<T>& line, int64_t pixel, int64_t c, Count count,
                                   const Affine& a) {
  FetchToRead(line.x + (pixel + line.width) * line.channels + c);
  const Vector offset = LoadPart(line.x + pixel * line.channels + c, count) - a.mean;
  return {offset, offset * a.scale + a.shift};
}

// Calls visit(tap, dy) for each output that reads the pixel: filter row i meets dy[i], if `rows` has i; column j meets
// output (pixel + 1 - j) / stride, if `columns` has j.
template<int stride, int rows, int columns, typename T, typename Visit>
INSIGHTFACE_INLINE void ForOutputs(const DepthwiseGradientLine<T>& line, int64_t pixel, int64_t group,
                                   const Visit& visit) {
  for (int i = 0; i < 3; ++i) {
    if ((rows >> i & 1) == 0) { continue; }
    for (int j = 0; j < 3; ++j) {
      if ((columns >> j & 1) == 0) { continue; }
      visit(3 * i + j, LoadWhole(line.dy[i] + group + ((pixel + 1 - j) / stride + 1) * kLanes));
    }
  }
}

// Calls visit(pixel, columns) for each pixel of a line, with the filter columns that meet an output there.
template<int columns>
struct Columns {
  static constexpr int value = columns;
};
template<int stride, typename Visit>
INSIGHTFACE_INLINE void ForPixels(int64_t width, Visit visit) {
  if (stride == 1) {
    for (int64_t p = 0; p < width; ++p) { visit(p, Columns<7>{}); }
    return;
  }
  for (int64_t p = 0; p < width; p += 2) {
    visit(p, Columns<2>{});
    if (p + 1 < width) { visit(p + 1, Columns<5>{}); }
  }
}

template<int stride, int rows>
struct SumsOfLine {
  template<typename T>
  static void Run(const DepthwiseGradientLine<T>& line, const DepthwiseSums<T>& to) {
    const int64_t channels = line.channels, out_width = (line.width - 1) / stride + 1;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const int64_t group = c * (out_width + 2);
      const Affine a = LoadAffine(line.affine, c, count);
      Vector w[kDepthwiseTaps], weight[kDepthwiseTaps] = {}, gradient = {}, gradient_offset = {}, slope = {};
      for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(line.weight + t * channels + c, count); }
      ForPixels<stride>(line.width, [&](int64_t p, auto columns) __attribute__((always_inline)) {
        const Pixel x = LoadPixel(line, p, c, count, a);
        const Vector value = Select(x.normal, x.normal, x.normal * a.slope);
        Vector parts[3] = {};
        ForOutputs<stride, rows, columns.value>(line, p, group, [&](int t, Vector dy) __attribute__((always_inline)) {
          parts[t / 3] += dy * w[t];
          weight[t] += dy * value;
        });
        const Vector dv = (parts[0] + parts[1]) + parts[2];
        const Vector g = Select(x.normal, dv, dv * a.slope);
        gradient += g;
        gradient_offset += g * x.offset;
        slope += Select(x.normal, Vector{}, dv * x.normal);
        if (to.dv != nullptr) {
          FetchToWrite(to.dv + (p + line.width) * channels + c);
          StorePart(dv, to.dv + p * channels + c, count);
        }
      });
      for (int t = 0; t < kDepthwiseTaps; ++t) { AddPart(weight[t], to.weight + t * channels + c, count); }
      AddPart(gradient, to.channel.gradient + c, count);
      AddPart(gradient_offset, to.channel.gradient_offset + c, count);
      if (to.channel.slope != nullptr) { AddPart(slope, to.channel.slope + c, count); }
    });
  }
};

template<int stride, int rows>
struct InputGradientOfLine {
  template<typename T>
  static void Run(const DepthwiseGradientLine<T>& line, const ChannelGradient& to, T* dx) {
    const int64_t channels = line.channels, out_width = (line.width - 1) / stride + 1;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const int64_t group = c * (out_width + 2);
      const Affine a = LoadAffine(line.affine, c, count);
      const Vector factor = LoadPart(to.offset_factor + c, count), constant = LoadPart(to.constant + c, count);
      Vector w[kDepthwiseTaps];
      for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(line.weight + t * channels + c, count); }
      ForPixels<stride>(line.width, [&](int64_t p, auto columns) __attribute__((always_inline)) {
        const Pixel x = LoadPixel(line, p, c, count, a);
        Vector parts[3] = {};
        ForOutputs<stride, rows, columns.value>(line, p, group, [&](int t, Vector dy) __attribute__((always_inline)) {
          parts[t / 3] += dy * w[t];
        });
        const Vector dv = (parts[0] + parts[1]) + parts[2];
        const Vector g = Select(x.normal, dv, dv * a.slope);
        StorePart(g * a.scale + x.offset * factor + constant, dx + p * channels + c, count);
      });
    });
  }
};

// Calls Of<stride, rows>::Run for the output lines that a line meets.
template<template<int, int> class Of, int stride, typename T, typename... More>
INSIGHTFACE_INLINE void RunForRows(const DepthwiseGradientLine<T>& line, const More&... more) {
  const int rows = (line.dy[0] != nullptr ? 1 : 0) | (line.dy[1] != nullptr ? 2 : 0) | (line.dy[2] != nullptr ? 4 : 0);
  switch (rows) {
    case 0: return Of<stride, 0>::Run(line, more...);
    case 1: return Of<stride, 1>::Run(line, more...);
    case 2: return Of<stride, 2>::Run(line, more...);
    case 3: return Of<stride, 3>::Run(line, more...);
    case 4: return Of<stride, 4>::Run(line, more...);
    case 5: return Of<stride, 5>::Run(line, more...);
    case 6: return Of<stride, 6>::Run(line, more...);
    default: return Of<stride, 7>::Run(line, more...);
  }
}

template<typename T>
void AddGradientSums(const DepthwiseGradientLine<T>& line, const DepthwiseSums<T>& sums) {
  line.stride == 1 ? RunForRows<SumsOfLine, 1>(line, sums) : RunForRows<SumsOfLine, 2>(line, sums);
}

template<typename T>
void InputGradient(const DepthwiseGradientLine<T>& line, const ChannelGradient& gradient, T* dx) {
  RunForRows<InputGradientOfLine, 2>(line, gradient, dx);
}

template<typename T>
constexpr DepthwiseLines<T> kLoops = {SpreadNormalised<T>, Spread<T>, Convolve<T>, AddGradientSums<T>, InputGradient<T>,
                                         SpreadGradient<T>};

}  // namespace

const BothTypes<DepthwiseLines> kDepthwiseLines = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
