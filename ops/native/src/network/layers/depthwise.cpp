#include "network/layers/depthwise.h"

#include <algorithm>
#include <vector>

#include "base/call_counts.h"
#include "base/parallel.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

// Channels whose sums stay in registers.
constexpr int64_t kLanes = 32;

// One output of a tap: where its gradient starts, and the tap's weights, one per channel.
template<typename T>
struct Tap {
  const T* dy;
  const float* weight;
};

// dx = the sum over `count` taps, which the compiler has to know for the channels to become vectors.
template<int count, typename T>
inline __attribute__((always_inline)) void GatherTaps(const Tap<T>* taps, int64_t channels, T* dx) {
#pragma omp simd
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0;
    for (int t = 0; t < count; ++t) { sum += Load(taps[t].dy[c]) * taps[t].weight[c]; }
    Store(sum, dx + c);
  }
}

template<typename T>
inline __attribute__((always_inline)) void GatherPixelOf(const Tap<T>* taps, int64_t count, int64_t channels, T* dx) {
  switch (count) {  // what filters of 3x3 reach, and of 5x5 with stride 2
    case 1: return GatherTaps<1>(taps, channels, dx);
    case 2: return GatherTaps<2>(taps, channels, dx);
    case 3: return GatherTaps<3>(taps, channels, dx);
    case 4: return GatherTaps<4>(taps, channels, dx);
    case 6: return GatherTaps<6>(taps, channels, dx);
    case 9: return GatherTaps<9>(taps, channels, dx);
    default: break;
  }
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t lanes = std::min(kLanes, channels - c);
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

INSIGHTFACE_VECTORISED void GatherPixel(const Tap<float>* taps, int64_t count, int64_t channels, float* dx) {
  GatherPixelOf(taps, count, channels, dx);
}
INSIGHTFACE_VECTORISED void GatherPixel(const Tap<BFloat16>* taps, int64_t count, int64_t channels, BFloat16* dx) {
  GatherPixelOf(taps, count, channels, dx);
}

// sums[c] += x * dy over `pixels` pixels, which lie x_step and channels numbers apart.
template<typename T>
inline __attribute__((always_inline)) void AddProductsOf(const T* x, int64_t x_step, const T* dy, int64_t pixels,
                                                         int64_t channels, float* sums) {
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

INSIGHTFACE_VECTORISED void AddProducts(const float* x, int64_t x_step, const float* dy, int64_t pixels,
                                        int64_t channels, float* sums) {
  AddProductsOf(x, x_step, dy, pixels, channels, sums);
}
INSIGHTFACE_VECTORISED void AddProducts(const BFloat16* x, int64_t x_step, const BFloat16* dy, int64_t pixels,
                                        int64_t channels, float* sums) {
  AddProductsOf(x, x_step, dy, pixels, channels, sums);
}

template<typename T>
inline __attribute__((always_inline)) void AddPixelsOf(const T* dy, int64_t pixels, int64_t channels, float* sums) {
  for (int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) { sums[c] += Load(dy[p * channels + c]); }
  }
}

INSIGHTFACE_VECTORISED void AddPixels(const float* dy, int64_t pixels, int64_t channels, float* sums) {
  AddPixelsOf(dy, pixels, channels, sums);
}
INSIGHTFACE_VECTORISED void AddPixels(const BFloat16* dy, int64_t pixels, int64_t channels, float* sums) {
  AddPixelsOf(dy, pixels, channels, sums);
}

// The outputs whose tap number `tap` falls on input row (or column) `position`: at most one. Returns -1 for none.
int64_t OutputOf(int64_t position, int64_t tap, int64_t pad, int64_t stride, int64_t outputs) {
  const int64_t shifted = position + pad - tap;
  if (shifted < 0 || shifted % stride != 0) { return -1; }
  const int64_t at = shifted / stride;
  return at < outputs ? at : -1;
}

template<typename T>
void InputGradient(const DepthwiseShape& s, const T* dy, const float* weight, T* dx) {
  const int64_t channels = s.in.channels, taps = s.kernel * s.kernel;
  std::vector<float> by_tap(taps * channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) { by_tap[t * channels + c] = weight[c * taps + t]; }
  }
  ParallelRows(s.batch * s.in.height, [&](int64_t begin, int64_t end, int) {
    std::vector<Tap<T>> used(taps);
    for (int64_t line = begin; line < end; ++line) {
      const int64_t image = line / s.in.height, row = line % s.in.height;
      for (int64_t column = 0; column < s.in.width; ++column) {
        int64_t count = 0;
        for (int64_t i = 0; i < s.kernel; ++i) {
          const int64_t out_row = OutputOf(row, i, s.pad, s.stride, s.out.height);
          if (out_row < 0) { continue; }
          for (int64_t j = 0; j < s.kernel; ++j) {
            const int64_t out_column = OutputOf(column, j, s.pad, s.stride, s.out.width);
            if (out_column < 0) { continue; }
            const int64_t pixel = (image * s.out.height + out_row) * s.out.width + out_column;
            used[count++] = {dy + pixel * channels, by_tap.data() + (i * s.kernel + j) * channels};
          }
        }
        GatherPixel(used.data(), count, channels, dx + (line * s.in.width + column) * channels);
      }
    }
  });
}

// Of the columns of one output row, those whose tap `tap` falls inside the input.
struct Columns {
  int64_t first, count;
};

Columns ColumnsInside(const DepthwiseShape& s, int64_t tap) {
  const int64_t first = std::max<int64_t>(0, (s.pad - tap + s.stride - 1) / s.stride);
  const int64_t last = std::min(s.out.width - 1, (s.in.width - 1 + s.pad - tap) / s.stride);
  return {first, s.in.width - 1 + s.pad - tap < 0 ? 0 : last - first + 1};
}

template<typename T>
void AddOutputRow(const DepthwiseShape& s, const T* x, const T* dy, int64_t line, float* sums) {
  const int64_t channels = s.in.channels;
  const int64_t image = line / s.out.height, out_row = line % s.out.height;
  const T* const dy_row = dy + line * s.out.width * channels;
  for (int64_t i = 0; i < s.kernel; ++i) {
    const int64_t row = out_row * s.stride + i - s.pad;
    if (row < 0 || row >= s.in.height) { continue; }
    const T* const x_row = x + (image * s.in.height + row) * s.in.width * channels;
    for (int64_t j = 0; j < s.kernel; ++j) {
      const Columns columns = ColumnsInside(s, j);
      if (columns.count <= 0) { continue; }
      const int64_t column = columns.first * s.stride + j - s.pad;
      AddProducts(x_row + column * channels, s.stride * channels, dy_row + columns.first * channels, columns.count,
                  channels, sums + (i * s.kernel + j) * channels);
    }
  }
}

template<typename T>
void WeightGradient(const DepthwiseShape& s, const T* x, const T* dy, float* weight, float* bias) {
  constexpr int64_t kLinesPerSum = 8;
  const int64_t channels = s.in.channels, taps = s.kernel * s.kernel;
  const std::vector<double> sums = SumRows(
      s.batch * s.out.height, (taps + 1) * channels, kLinesPerSum, [&](int64_t begin, int64_t end, float* part) {
        for (int64_t line = begin; line < end; ++line) { AddOutputRow(s, x, dy, line, part); }
        if (bias != nullptr) {
          AddPixels(dy + begin * s.out.width * channels, (end - begin) * s.out.width, channels, part + taps * channels);
        }
      });
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) { weight[c * taps + t] = static_cast<float>(sums[t * channels + c]); }
    if (bias != nullptr) { bias[c] = static_cast<float>(sums[taps * channels + c]); }
  }
}

}  // namespace

void DepthwiseInputGradient(const DepthwiseShape& shape, const float* dy, const float* weight, float* dx) {
  InputGradient(shape, dy, weight, dx);
}
void DepthwiseInputGradient(const DepthwiseShape& shape, const BFloat16* dy, const float* weight, BFloat16* dx) {
  InputGradient(shape, dy, weight, dx);
}
void DepthwiseWeightGradient(const DepthwiseShape& shape, const float* x, const float* dy, float* weight, float* bias) {
  WeightGradient(shape, x, dy, weight, bias);
}
void DepthwiseWeightGradient(const DepthwiseShape& shape, const BFloat16* x, const BFloat16* dy, float* weight,
                             float* bias) {
  WeightGradient(shape, x, dy, weight, bias);
}

}  // namespace insightface
