#include "network/arithmetic/channel_rows.h"

#include "network/arithmetic/vectors.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Rows taken together, so that the numbers per channel are read, and sums written, once for all of them.
constexpr int kRows = 8;

// Calls visit(row, rows) for kRows rows after the other, then for each row left; `rows` is known to the compiler.
template<int rows>
struct RowCount {
  static constexpr int value = rows;
};
template<typename Visit>
INSIGHTFACE_INLINE void ForRows(int64_t rows, const Visit& visit) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) { visit(row, RowCount<kRows>{}); }
  for (; row < rows; ++row) { visit(row, RowCount<1>{}); }
}

template<typename T>
void AddMoments(const T* x, int64_t rows, int64_t channels, const float* origin, float* sums, float* squares) {
  ForRows(rows, [&](int64_t row, auto together) __attribute__((always_inline)) {
    const T* const from = x + row * channels;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const Vector zero = LoadPart(origin + c, count);
      Vector sum = {}, square = {};
      for (int r = 0; r < together.value; ++r) {
        const Vector value = LoadPart(from + r * channels + c, count) - zero;
        sum += value;
        square += value * value;
      }
      AddPart(sum, sums + c, count);
      AddPart(square, squares + c, count);
    });
  });
}

template<typename T, bool has_slope, bool has_addend>
INSIGHTFACE_INLINE void ApplyAffineTo(const T* x, const T* addend, int64_t rows, int64_t channels,
                                      const ChannelAffine& affine, T* y) {
  ForRows(rows, [&](int64_t row, auto together) __attribute__((always_inline)) {
    const int64_t start = row * channels;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const Affine a = LoadAffine(affine, c, count);
      for (int r = 0; r < together.value; ++r) {
        const int64_t place = start + r * channels + c;
        Vector value = (LoadPart(x + place, count) - a.mean) * a.scale + a.shift;
        if (has_slope) { value = Select(value, value, value * a.slope); }
        if (has_addend) { value += LoadPart(addend + place, count); }
        StorePart(value, y + place, count);
      }
    });
  });
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

template<typename T, bool has_slope>
INSIGHTFACE_INLINE void AddGradientSumsTo(const T* x, const T* dy, int64_t rows, int64_t channels,
                                          const ChannelAffine& affine, const ChannelSums& sums) {
  ForRows(rows, [&](int64_t row, auto together) __attribute__((always_inline)) {
    const int64_t start = row * channels;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const Affine a = LoadAffine(affine, c, count);
      Vector gradient = {}, gradient_offset = {}, slope_sum = {};
      for (int r = 0; r < together.value; ++r) {
        const int64_t place = start + r * channels + c;
        const Vector offset = LoadPart(x + place, count) - a.mean;
        Vector g = LoadPart(dy + place, count);
        if (has_slope) {
          const Vector value = offset * a.scale + a.shift;
          slope_sum += Select(value, Vector{}, g * value);
          g = Select(value, g, g * a.slope);
        }
        gradient += g;
        gradient_offset += g * offset;
      }
      AddPart(gradient, sums.gradient + c, count);
      AddPart(gradient_offset, sums.gradient_offset + c, count);
      if (has_slope) { AddPart(slope_sum, sums.slope + c, count); }
    });
  });
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
                                        const ChannelGradient& to, T* dx) {
  ForRows(rows, [&](int64_t row, auto together) __attribute__((always_inline)) {
    const int64_t start = row * channels;
    ForVectors(channels, [&](int64_t c, auto count) __attribute__((always_inline)) {
      const Affine a = LoadAffine(to.affine, c, count);
      const Vector factor = LoadPart(to.offset_factor + c, count), constant = LoadPart(to.constant + c, count);
      for (int r = 0; r < together.value; ++r) {
        const int64_t place = start + r * channels + c;
        const Vector offset = LoadPart(x + place, count) - a.mean;
        Vector g = LoadPart(dy + place, count);
        if (has_slope) { g = Select(offset * a.scale + a.shift, g, g * a.slope); }
        Vector gradient = g * a.scale + offset * factor + constant;
        if (adds) { gradient += LoadPart(dx + place, count); }
        StorePart(gradient, dx + place, count);
      }
    });
  });
}

template<typename T>
void ApplyGradient(const T* x, const T* dy, int64_t rows, int64_t channels, const ChannelGradient& to, bool adds,
                   T* dx) {
  if (to.affine.slope != nullptr && adds) {
    ApplyGradientTo<T, true, true>(x, dy, rows, channels, to, dx);
  } else if (to.affine.slope != nullptr) {
    ApplyGradientTo<T, true, false>(x, dy, rows, channels, to, dx);
  } else if (adds) {
    ApplyGradientTo<T, false, true>(x, dy, rows, channels, to, dx);
  } else {
    ApplyGradientTo<T, false, false>(x, dy, rows, channels, to, dx);
  }
}

template<typename T>
constexpr ChannelRows<T> kLoops = {AddMoments<T>, ApplyAffine<T>, AddGradientSums<T>, ApplyGradient<T>};

}  // namespace

const BothTypes<ChannelRows> kChannelRows = {kLoops<float>, kLoops<BFloat16>};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
