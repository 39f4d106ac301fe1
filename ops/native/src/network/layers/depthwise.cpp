// computes          nothing forward: oneDNN's depthwise convolution is fast enough
// reads in backward x, dy [batch, height, width, channels], weight [channels, 1, kernel, kernel]
// writes            dx at every input pixel = the sum over the taps that read it of dy * weight
// writes            dweight = the sum over output pixels of x * dy; dbias = sum of dy
#include "network/layers/depthwise.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "network/arithmetic/depthwise_pixels.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

// The output whose tap number `tap` falls on input row (or column) `position`; -1 if there is none.
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
  const DepthwisePixels<T>& loops = kDepthwisePixels.Of<T>();
  ParallelRows(s.batch * s.in.height, [&](int64_t begin, int64_t end, int) {
    std::vector<DepthwiseTap<T>> used(taps);
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
        loops.GatherPixel(used.data(), count, channels, dx + (line * s.in.width + column) * channels);
      }
    }
  });
}

// The columns of an output row whose tap `tap` falls inside the input.
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
      kDepthwisePixels.Of<T>().AddProducts(x_row + column * channels, s.stride * channels,
                                           dy_row + columns.first * channels, columns.count, channels,
                                           sums + (i * s.kernel + j) * channels);
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
          kDepthwisePixels.Of<T>().AddPixels(dy + begin * s.out.width * channels, (end - begin) * s.out.width, channels,
                                             part + taps * channels);
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
