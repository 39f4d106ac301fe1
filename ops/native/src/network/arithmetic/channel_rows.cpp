#include "network/arithmetic/channel_rows.h"

#include "base/call_counts.h"

// The loops are written once for both number types and compiled once per instruction set (INSIGHTFACE_VECTORISED),
// into which they are inlined.
#define INSIGHTFACE_INLINE inline __attribute__((always_inline))

namespace insightface {
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
INSIGHTFACE_INLINE void AddMomentsOf(const T* x, int64_t rows, int64_t channels, const float* origin, float* sums,
                                     float* squares) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    AddMomentsOfRows<T, kRows>(x + row * channels, channels, origin, sums, squares);
  }
  for (; row < rows; ++row) { AddMomentsOfRows<T, 1>(x + row * channels, channels, origin, sums, squares); }
}

template<typename T, bool has_slope, bool has_addend>
INSIGHTFACE_INLINE void ApplyAffineOf(const T* x, const T* addend, int64_t rows, int64_t channels,
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
INSIGHTFACE_INLINE void ChooseApplyAffine(const T* x, const T* addend, int64_t rows, int64_t channels,
                                          const ChannelAffine& affine, T* y) {
  if (affine.slope != nullptr) {
    ApplyAffineOf<T, true, false>(x, addend, rows, channels, affine, y);
  } else if (addend != nullptr) {
    ApplyAffineOf<T, false, true>(x, addend, rows, channels, affine, y);
  } else {
    ApplyAffineOf<T, false, false>(x, addend, rows, channels, affine, y);
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
INSIGHTFACE_INLINE void AddGradientSumsOf(const T* x, const T* dy, int64_t rows, int64_t channels,
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
INSIGHTFACE_INLINE void ChooseAddGradientSums(const T* x, const T* dy, int64_t rows, int64_t channels,
                                              const ChannelAffine& affine, const ChannelSums& sums) {
  if (affine.slope != nullptr) {
    AddGradientSumsOf<T, true>(x, dy, rows, channels, affine, sums);
  } else {
    AddGradientSumsOf<T, false>(x, dy, rows, channels, affine, sums);
  }
}

template<typename T, bool has_slope, bool adds>
INSIGHTFACE_INLINE void ApplyGradientOf(const T* x, const T* dy, int64_t rows, int64_t channels,
                                        const ChannelAffine& affine, const float* tilt, const float* level, T* dx) {
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
      const float gradient = g * scale[c] + offset * tilt[c] + level[c];
      Store(adds ? Load(dx[c]) + gradient : gradient, dx + c);
    }
  }
}

template<typename T>
INSIGHTFACE_INLINE void ChooseApplyGradient(const T* x, const T* dy, int64_t rows, int64_t channels,
                                            const ChannelAffine& affine, const float* tilt, const float* level,
                                            bool adds, T* dx) {
  if (affine.slope != nullptr && adds) {
    ApplyGradientOf<T, true, true>(x, dy, rows, channels, affine, tilt, level, dx);
  } else if (affine.slope != nullptr) {
    ApplyGradientOf<T, true, false>(x, dy, rows, channels, affine, tilt, level, dx);
  } else if (adds) {
    ApplyGradientOf<T, false, true>(x, dy, rows, channels, affine, tilt, level, dx);
  } else {
    ApplyGradientOf<T, false, false>(x, dy, rows, channels, affine, tilt, level, dx);
  }
}

// Compiled per instruction set only where other files cannot see them: their calls would not find the right one.
INSIGHTFACE_VECTORISED void AddMomentsClone(const float* x, int64_t rows, int64_t channels, const float* origin,
                                            float* sums, float* squares) {
  AddMomentsOf(x, rows, channels, origin, sums, squares);
}

INSIGHTFACE_VECTORISED void AddMomentsClone(const BFloat16* x, int64_t rows, int64_t channels, const float* origin,
                                            float* sums, float* squares) {
  AddMomentsOf(x, rows, channels, origin, sums, squares);
}

INSIGHTFACE_VECTORISED void ApplyAffineClone(const float* x, const float* addend, int64_t rows, int64_t channels,
                                             const ChannelAffine& affine, float* y) {
  ChooseApplyAffine(x, addend, rows, channels, affine, y);
}

INSIGHTFACE_VECTORISED void ApplyAffineClone(const BFloat16* x, const BFloat16* addend, int64_t rows, int64_t channels,
                                             const ChannelAffine& affine, BFloat16* y) {
  ChooseApplyAffine(x, addend, rows, channels, affine, y);
}

INSIGHTFACE_VECTORISED void AddGradientSumsClone(const float* x, const float* dy, int64_t rows, int64_t channels,
                                                 const ChannelAffine& affine, const ChannelSums& sums) {
  ChooseAddGradientSums(x, dy, rows, channels, affine, sums);
}

INSIGHTFACE_VECTORISED void AddGradientSumsClone(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels,
                                                 const ChannelAffine& affine, const ChannelSums& sums) {
  ChooseAddGradientSums(x, dy, rows, channels, affine, sums);
}

INSIGHTFACE_VECTORISED void ApplyGradientClone(const float* x, const float* dy, int64_t rows, int64_t channels,
                                               const ChannelAffine& affine, const float* tilt, const float* level,
                                               bool adds, float* dx) {
  ChooseApplyGradient(x, dy, rows, channels, affine, tilt, level, adds, dx);
}

INSIGHTFACE_VECTORISED void ApplyGradientClone(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels,
                                               const ChannelAffine& affine, const float* tilt, const float* level,
                                               bool adds, BFloat16* dx) {
  ChooseApplyGradient(x, dy, rows, channels, affine, tilt, level, adds, dx);
}

}  // namespace

void AddMoments(const float* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares) {
  AddMomentsClone(x, rows, channels, origin, sums, squares);
}

void AddMoments(const BFloat16* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares) {
  AddMomentsClone(x, rows, channels, origin, sums, squares);
}

void ApplyAffine(const float* x, const float* addend, int64_t rows, int64_t channels, const ChannelAffine& affine,
                 float* y) {
  ApplyAffineClone(x, addend, rows, channels, affine, y);
}

void ApplyAffine(const BFloat16* x, const BFloat16* addend, int64_t rows, int64_t channels, const ChannelAffine& affine,
                 BFloat16* y) {
  ApplyAffineClone(x, addend, rows, channels, affine, y);
}

void AddGradientSums(const float* x, const float* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                     const ChannelSums& sums) {
  AddGradientSumsClone(x, dy, rows, channels, affine, sums);
}

void AddGradientSums(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                     const ChannelSums& sums) {
  AddGradientSumsClone(x, dy, rows, channels, affine, sums);
}

void ApplyGradient(const float* x, const float* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                   const float* tilt, const float* level, bool adds, float* dx) {
  ApplyGradientClone(x, dy, rows, channels, affine, tilt, level, adds, dx);
}

void ApplyGradient(const BFloat16* x, const BFloat16* dy, int64_t rows, int64_t channels, const ChannelAffine& affine,
                   const float* tilt, const float* level, bool adds, BFloat16* dx) {
  ApplyGradientClone(x, dy, rows, channels, affine, tilt, level, adds, dx);
}

}  // namespace insightface
