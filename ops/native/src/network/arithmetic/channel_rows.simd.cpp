#include "network/arithmetic/channel_rows.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Rows taken together, so that the sums are read and written once for all of them.
constexpr int kRows = 4;

template<typename T, int rows>
INSIGHTFACE_INLINE void AddMomentsOfRows(const T* x, int64_t channels, const float* origin, float* sums,
                                         float* squares) {
#pragma omp simd
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0, square = 0;
    for (int r = 0; r < rows; ++r) {
      const float value = Load(x[r * channels + c]) - origin[c];
      sum += value;
      square += value * value;
    }
    sums[c] += sum;
    squares[c] += square;
  }
}

template<typename T>
void AddMoments(const T* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    AddMomentsOfRows<T, kRows>(x + row * channels, channels, origin, sums, squares);
  }
  for (; row < rows; ++row) { AddMomentsOfRows<T, 1>(x + row * channels, channels, origin, sums, squares); }
}

template<typename T, bool has_slope, bool has_addend>
INSIGHTFACE_INLINE void ApplyAffineTo(const T* x, const T* addend, int64_t rows, int64_t channels,
                                      const ChannelAffine& affine, T* y) {
  const float* const mean = affine.mean;
  const float* const scale = affine.scale;
  const float* const shift = affine.shift;
  const float* const slope = affine.slope;
  for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      float value = (Load(x[c]) - mean[c]) * scale[c] + shift[c];
      if (has_slope) { value = value > 0 ? value : value * slope[c]; }
      if (has_addend) { value += Load(addend[c]); }
      Store(value, y + c);
    }
    if (has_addend) { addend += channels; }
  }
}

template<typename T>
void ApplyAffine(const T* x, const T* addend, int64_t rows, int64_t channels, const ChannelAffine& affine, T* y) {
  if (affine.slope != nullptr) {
    ApplyAffineTo<T, true, false>(x, addend, rows, channels, affine, y);
  } else if (addend != nullptr) {
    ApplyAffineTo<T, false, true>(x, addend, rows, channels, affine, y);
  } else {
    ApplyAffineTo<T, false, false>(x, addend, rows, channels, affine, y);
  }
}

template<typename T, int rows, bool has_slope>
INSIGHTFACE_INLINE void AddGradientSumsOfRows(const T* x, const T* dy, int64_t channels, const ChannelAffine& affine,
                                              const ChannelSums& sums) {
  const float* const mean = affine.mean;
  const float* const scale = affine.scale;
  const float* const shift = affine.shift;
  const float* const slope = affine.slope;
#pragma omp simd
  for (int64_t c = 0; c < channels; ++c) {
    float gradient = 0, gradient_offset = 0, slope_sum = 0;
    for (int r = 0; r < rows; ++r) {
      const float offset = Load(x[r * channels + c]) - mean[c];
      float g = Load(dy[r * channels + c]);
      if (has_slope) {
        const float value = offset * scale[c] + shift[c];
        slope_sum += value > 0 ? 0 : g * value;
        g = value > 0 ? g : g * slope[c];
      }
      gradient += g;
      gradient_offset += g * offset;
    }
    sums.gradient[c] += gradient;
    sums.gradient_offset[c] += gradient_offset;
    if (has_slope) { sums.slope[c] += slope_sum; }
  }
}

template<typename T, bool has_slope>
INSIGHTFACE_INLINE void AddGradientSumsTo(const T* x, const T* dy, int64_t rows, int64_t channels,
                                          const ChannelAffine& affine, const ChannelSums& sums) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    AddGradientSumsOfRows<T, kRows, has_slope>(x + row * channels, dy + row * channels, channels, affine, sums);
  }
  for (; row < rows; ++row) {
    AddGradientSumsOfRows<T, 1, has_slope>(x + row * channels, dy + row * channels, channels, affine, sums);
  }
}

template<typename T>
void AddGradientSums(const T* x, const T* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                     const ChannelSums& sums) {
  if (affine.slope != nullptr) {
    AddGradientSumsTo<T, true>(x, dy, rows, channels, affine, sums);
  } else {
    AddGradientSumsTo<T, false>(x, dy, rows, channels, affine, sums);
  }
}

template<typename T, bool has_slope, bool adds>
INSIGHTFACE_INLINE void ApplyGradientTo(const T* x, const T* dy, int64_t rows, int64_t channels,
                                        const ChannelAffine& affine, const float* offset_factor, const float* constant,
                                        T* dx) {
  const float* const mean = affine.mean;
  const float* const scale = affine.scale;
  const float* const shift = affine.shift;
  const float* const slope = affine.slope;
  for (int64_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float offset = Load(x[c]) - mean[c];
      float g = Load(dy[c]);
      if (has_slope) { g = offset * scale[c] + shift[c] > 0 ? g : g * slope[c]; }
      const float gradient = g * scale[c] + offset * offset_factor[c] + constant[c];
      Store(adds ? Load(dx[c]) + gradient : gradient, dx + c);
    }
  }
}

template<typename T>
void ApplyGradient(const T* x, const T* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                   const float* offset_factor, const float* constant, bool adds, T* dx) {
  if (affine.slope != nullptr && adds) {
    ApplyGradientTo<T, true, true>(x, dy, rows, channels, affine, offset_factor, constant, dx);
  } else if (affine.slope != nullptr) {
    ApplyGradientTo<T, true, false>(x, dy, rows, channels, affine, offset_factor, constant, dx);
  } else if (adds) {
    ApplyGradientTo<T, false, true>(x, dy, rows, channels, affine, offset_factor, constant, dx);
  } else {
    ApplyGradientTo<T, false, false>(x, dy, rows, channels, affine, offset_factor, constant, dx);
  }
}

template<typename T>
constexpr ChannelRows<T> kLoops = {AddMoments<T>, ApplyAffine<T>, AddGradientSums<T>, ApplyGradient<T>};

}  // namespace

const BothTypes<ChannelRows> kChannelRows = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
