#include "network/arithmetic/depthwise_lines.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Channels of one vector register.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float LooseVector __attribute__((vector_size(4 * kLanes), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
typedef uint16_t LooseHalves __attribute__((vector_size(2 * kLanes), aligned(2)));

INSIGHTFACE_INLINE Vector LoadWhole(const float* from) { return *reinterpret_cast<const LooseVector*>(from); }
INSIGHTFACE_INLINE Vector LoadWhole(const BFloat16* from) {
  const Halves halves = *reinterpret_cast<const LooseHalves*>(from);
  return reinterpret_cast<Vector>(__builtin_convertvector(halves, Words) << 16);
}
INSIGHTFACE_INLINE void StoreWhole(Vector value, float* to) { *reinterpret_cast<LooseVector*>(to) = value; }
// As Store of a single number rounds.
INSIGHTFACE_INLINE void StoreWhole(Vector value, BFloat16* to) {
  const Words bits = reinterpret_cast<Words>(value);
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words quiet = (bits >> 16) | 0x40;
  const Words is_nan = reinterpret_cast<Words>((bits & 0x7fffffff) > 0x7f800000);
  *reinterpret_cast<LooseHalves*>(to) = __builtin_convertvector((is_nan & quiet) | (~is_nan & rounded), Halves);
}

// The first `count` channels; the others are 0 and are not touched.
template<typename T>
INSIGHTFACE_INLINE Vector LoadPart(const T* from, int64_t count) {
  if (count >= kLanes) { return LoadWhole(from); }
  Vector value = {};
  for (int64_t lane = 0; lane < count; ++lane) { value[lane] = Load(from[lane]); }
  return value;
}
template<typename T>
INSIGHTFACE_INLINE void StorePart(Vector value, T* to, int64_t count) {
  if (count >= kLanes) { return StoreWhole(value, to); }
  for (int64_t lane = 0; lane < count; ++lane) { Store(value[lane], to + lane); }
}
INSIGHTFACE_INLINE void AddPart(Vector value, float* to, int64_t count) {
  StorePart(LoadPart(to, count) + value, to, count);
}

// Channels of a pixel lie far from those of the next one, which no processor foresees: while a line is processed, the
// same place of the line after it is fetched, which the next call reads or writes. An address behind the map does
// no harm.
INSIGHTFACE_INLINE void FetchToRead(const void* place) { __builtin_prefetch(place, 0); }
INSIGHTFACE_INLINE void FetchToWrite(const void* place) { __builtin_prefetch(place, 1); }

INSIGHTFACE_INLINE Vector Select(Vector v, Vector positive, Vector negative) { return v > 0.0f ? positive : negative; }

// The affine map of one vector of channels; without a slope, a slope of 1.
struct Affine {
  Vector mean, scale, shift, slope;
};
INSIGHTFACE_INLINE Affine LoadAffine(const ChannelAffine& affine, int64_t c, int64_t count) {
  const Vector ones = Vector{} + 1.0f;
  return {LoadPart(affine.mean + c, count), LoadPart(affine.scale + c, count), LoadPart(affine.shift + c, count),
          affine.slope != nullptr ? LoadPart(affine.slope + c, count) : ones};
}

template<typename T, typename Map>
INSIGHTFACE_INLINE void SpreadMapped(const T* x, int64_t width, int64_t channels, int64_t c, float* line,
                                     const Map& map) {
  const int64_t count = channels - c;
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
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Affine a = LoadAffine(affine, c, channels - c);
    SpreadMapped(x, width, channels, c, line, [&](Vector value) __attribute__((always_inline)) {
      const Vector v = (value - a.mean) * a.scale + a.shift;
      return Select(v, v, v * a.slope);
    });
  }
}

template<typename T>
void Spread(const T* x, int64_t width, int64_t channels, float* line) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    SpreadMapped(x, width, channels, c, line, [](Vector value) __attribute__((always_inline)) { return value; });
  }
}

template<typename T, int stride, bool above, bool below>
INSIGHTFACE_INLINE void ConvolveLine(const float* const* lines, int64_t in_width, const float* weight, int64_t width,
                                     int64_t channels, T* y) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t count = channels - c;
    Vector w[kDepthwiseTaps];
    for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(weight + t * channels + c, count); }
    const int64_t group = c * (in_width + 2);
    for (int64_t pixel = 0; pixel < width; ++pixel) {
      Vector sums[3] = {};  // of each filter row: shorter chains of additions, and less rounding
      for (int i = 0; i < 3; ++i) {
        if ((i == 0 && !above) || (i == 2 && !below)) { continue; }
        const float* const taps = lines[i] + group + pixel * stride * kLanes;
        for (int j = 0; j < 3; ++j) { sums[i] += LoadWhole(taps + j * kLanes) * w[3 * i + j]; }
      }
      FetchToWrite(y + (pixel + width) * channels + c);
      StorePart((sums[0] + sums[1]) + sums[2], y + pixel * channels + c, count);
    }
  }
}

template<typename T, int stride>
INSIGHTFACE_INLINE void ConvolveWithStride(const float* const* lines, int64_t in_width, const float* weight,
                                           int64_t width, int64_t channels, T* y) {
  const bool above = lines[0] != nullptr, below = lines[2] != nullptr;
  if (above && below) {
    ConvolveLine<T, stride, true, true>(lines, in_width, weight, width, channels, y);
  } else if (above) {
    ConvolveLine<T, stride, true, false>(lines, in_width, weight, width, channels, y);
  } else if (below) {
    ConvolveLine<T, stride, false, true>(lines, in_width, weight, width, channels, y);
  } else {
    ConvolveLine<T, stride, false, false>(lines, in_width, weight, width, channels, y);
  }
}

template<typename T>
void Convolve(const float* const* lines, int64_t in_width, int64_t stride, const float* weight, int64_t width,
              int64_t channels, T* y) {
  if (stride == 1) {
    ConvolveWithStride<T, 1>(lines, in_width, weight, width, channels, y);
  } else {
    ConvolveWithStride<T, 2>(lines, in_width, weight, width, channels, y);
  }
}

// The sums over a line for one vector of channels.
struct LineSums {
  Vector weight[kDepthwiseTaps], gradient, offset, slope;
};

// The gradients of one pixel. Filter row i meets dy[i], if `rows` has i; column j meets output
// (pixel + 1 - j) / stride, if `columns` has j.
template<typename T, int stride, int rows, int columns>
INSIGHTFACE_INLINE void GradientPixel(const DepthwiseGradientLine<T>& line, int64_t pixel, int64_t c, int64_t group,
                                      const Affine& a, const Vector* w, LineSums* sums) {
  const int64_t count = line.channels - c;
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
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t count = channels - c, group = c * (out_width + 2);
    const Affine a = LoadAffine(line.affine, c, count);
    Vector w[kDepthwiseTaps];
    for (int t = 0; t < kDepthwiseTaps; ++t) { w[t] = LoadPart(line.weight + t * channels + c, count); }
    LineSums sums = {};
    if (stride == 1) {
      for (int64_t p = 0; p < line.width; ++p) { GradientPixel<T, 1, rows, 7>(line, p, c, group, a, w, &sums); }
    } else {
      for (int64_t p = 0; p < line.width; p += 2) {
        GradientPixel<T, 2, rows, 2>(line, p, c, group, a, w, &sums);
        if (p + 1 < line.width) { GradientPixel<T, 2, rows, 5>(line, p + 1, c, group, a, w, &sums); }
      }
    }
    for (int t = 0; t < kDepthwiseTaps; ++t) { AddPart(sums.weight[t], line.weight_sums + t * channels + c, count); }
    AddPart(sums.gradient, line.sums.gradient + c, count);
    AddPart(sums.offset, line.sums.gradient_offset + c, count);
    if (line.sums.slope != nullptr) { AddPart(sums.slope, line.sums.slope + c, count); }
  }
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
constexpr DepthwiseLines<T> kLoops = {SpreadNormalised<T>, Spread<T>, Convolve<T>, Gradient<T>};

}  // namespace

const BothTypes<DepthwiseLines> kDepthwiseLines = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
