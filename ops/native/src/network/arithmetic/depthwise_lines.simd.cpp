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

// The sums over a line for one vector of channels.
struct LineSums {
  Vector weight[kDepthwiseTaps], gradient, offset, slope;
};

// The gradients of one pixel. Filter row i meets dy[i], if `rows` has i; column j meets output
// (pixel + 1 - j) / stride, if `columns` has j.
template<typename T, int stride, int rows, int columns, typename Count>
INSIGHTFACE_INLINE void GradientPixel(const DepthwiseGradientLine<T>& line, int64_t pixel, int64_t c, Count count,
                                      int64_t group, const Affine& a, const Vector* w, LineSums* sums) {
  FetchToRead(line.x + (pixel + line.width) * line.channels + c);
  const Vector offset = LoadPart(line.x + pixel * line.channels + c, count) - a.mean;
  const Vector v = offset * a.scale + a.shift;
  const Vector value = Select(v, v, v * a.slope);
  Vector parts[3] = {};
  for (int i = 0; i < 3; ++i) {
    if ((rows >> i & 1) == 0) { continue; }
    for (int j = 0; j < 3; ++j) {
      if ((columns >> j & 1) == 0) { continue; }
      const Vector dy = LoadWhole(line.dy[i] + group + ((pixel + 1 - j) / stride + 1) * kLanes);
      parts[i] += dy * w[3 * i + j];
      sums->weight[3 * i + j] += dy * value;
    }
  }
  const Vector dv = (parts[0] + parts[1]) + parts[2];
  const Vector g = Select(v, dv, dv * a.slope);
  sums->gradient += g;
  sums->offset += g * offset;
  sums->slope += Select(v, Vector{}, dv * v);
  if (line.dv != nullptr) {
    FetchToWrite(line.dv + (pixel + line.width) * line.channels + c);
    StorePart(dv, line.dv + pixel * line.channels + c, count);
  }
}

template<typename T, int stride, int rows>
void GradientOfLine(const DepthwiseGradientLine<T>& line) {
  const int64_t channels = line.channels, out_width = (line.width - 1) / stride + 1;
  ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
    const int64_t group = c * (out_width + 2);
    const Affine a = LoadAffine(line.affine, c, count);
    Vector w[kDepthwiseTaps];
    for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(line.weight + t * channels + c, count); }
    LineSums sums = {};
    if (stride == 1) {
      for (int64_t p = 0; p < line.width; ++p) { GradientPixel<T, 1, rows, 7>(line, p, c, count, group, a, w, &sums); }
    } else {
      for (int64_t p = 0; p < line.width; p += 2) {
        GradientPixel<T, 2, rows, 2>(line, p, c, count, group, a, w, &sums);
        if (p + 1 < line.width) { GradientPixel<T, 2, rows, 5>(line, p + 1, c, count, group, a, w, &sums); }
      }
    }
    for (int t = 0; t < kDepthwiseTaps; ++t) { AddPart(sums.weight[t], line.weight_sums + t * channels + c, count); }
    AddPart(sums.gradient, line.sums.gradient + c, count);
    AddPart(sums.offset, line.sums.gradient_offset + c, count);
    if (line.sums.slope != nullptr) { AddPart(sums.slope, line.sums.slope + c, count); }
  });
}

template<typename T, int stride>
INSIGHTFACE_INLINE void GradientWithStride(const DepthwiseGradientLine<T>& line) {
  const int rows = (line.dy[0] != nullptr ? 1 : 0) | (line.dy[1] != nullptr ? 2 : 0) | (line.dy[2] != nullptr ? 4 : 0);
  switch (rows) {
    case 0: return GradientOfLine<T, stride, 0>(line);
    case 1: return GradientOfLine<T, stride, 1>(line);
    case 2: return GradientOfLine<T, stride, 2>(line);
    case 3: return GradientOfLine<T, stride, 3>(line);
    case 4: return GradientOfLine<T, stride, 4>(line);
    case 5: return GradientOfLine<T, stride, 5>(line);
    case 6: return GradientOfLine<T, stride, 6>(line);
    default: return GradientOfLine<T, stride, 7>(line);
  }
}

template<typename T>
void Gradient(const DepthwiseGradientLine<T>& line) {
  if (line.stride == 1) {
    GradientWithStride<T, 1>(line);
  } else {
    GradientWithStride<T, 2>(line);
  }
}

template<typename T>
constexpr DepthwiseLines<T> kLoops = {SpreadNormalised<T>, Spread<T>, Convolve<T>, Gradient<T>, SpreadGradient<T>};

}  // namespace

const BothTypes<DepthwiseLines> kDepthwiseLines = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
