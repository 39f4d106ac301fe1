#include "network/arithmetic/strided_tiles.h"

#include "network/arithmetic/filter_taps.h"
#include "network/arithmetic/vectors.h"
#include "network/arithmetic/winograd_points.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int64_t kTaps = kWinogradTaps, kColumns = 2 * kWinogradLanes;
static_assert(kWinogradLanes % kLanes == 0, "the channels of a group are whole vectors");

#define INSIGHTFACE_LAMBDA __attribute__((always_inline))

// The one-dimensional transforms: Run reads x(i) and gives write(place, number).

// B^T of 5 numbers, of 4 for a short tile.
template<bool is_short, typename Numbers, typename Write>
INSIGHTFACE_INLINE void ToPoints(const Numbers& x, const Write& write) {
  if constexpr (is_short) {
    constexpr float kScale = kP2 - kQ2;
    write(0, kP2Q2 * x(0) - kQ2 * x(2));
    const Vector even = kScale * x(2), odd = (kScale * kP) * x(1);
    write(1, even + odd);
    write(2, even - odd);
    write(4, x(3) - kP2 * x(1));
  } else {
    constexpr float kS = kP + kQ, kD = kQ - kP;
    write(0, kP2Q2 * x(0) - (kP2 * kQ) * x(1) - kQ2 * x(2) + kQ * x(3));
    write(1, kS * x(3) - (kD * kS) * x(2) - (kP * kQ * kS) * x(1));
    write(2, kD * x(3) - (kS * kD) * x(2) + (kP * kQ * kD) * x(1));
    write(3, (2 * kQ) * x(3) - (2 * kP2 * kQ) * x(1));
    write(4, x(4) - kQ * x(3) - kP2 * x(2) + (kP2 * kQ) * x(1));
  }
}

// A of 4 numbers, of 3 for a short tile.
template<bool is_short, typename Numbers, typename Write>
INSIGHTFACE_INLINE void GradientToPoints(const Numbers& x, const Write& write) {
  write(0, x(0));
  const Vector even = x(0) + kP2 * x(2);
  if constexpr (is_short) {
    const Vector odd = kP * x(1);
    write(1, even + odd);
    write(2, even - odd);
    write(4, x(2));
  } else {
    const Vector odd = kP * x(1) + kP3 * x(3);
    write(1, even + odd);
    write(2, even - odd);
    write(3, x(0) + kQ * x(1) + kQ2 * x(2) + kQ3 * x(3));
    write(4, x(3));
  }
}

// A^T to 4 numbers, to 3 for a short tile.
template<bool is_short, typename Numbers, typename Write>
INSIGHTFACE_INLINE void FromPoints(const Numbers& x, const Write& write) {
  const Vector even = x(1) + x(2), odd = x(1) - x(2);
  if constexpr (is_short) {
    write(0, x(0) + even);
    write(1, kP * odd);
    write(2, kP2 * even + x(4));
  } else {
    write(0, x(0) + even + x(3));
    write(1, kP * odd + kQ * x(3));
    write(2, kP2 * even + kQ2 * x(3));
    write(3, kP3 * odd + kQ3 * x(3) + x(4));
  }
}

template<bool is_short>
struct Sizes {
  static constexpr int64_t kTile = is_short ? kStridedTile - 1 : kStridedTile;
  static constexpr bool HasPlace(int64_t place) {
    return !is_short || (place != kStridedPoints - 2 && place != kStridedPlaces - 1);
  }
};

template<bool is_short>
struct Patch : Sizes<is_short> {
  using Sizes<is_short>::kTile;
  static constexpr int64_t kIn = 2 * kTile + 1, kInSide = kStridedPatch, kOut = kStridedPlaces;
  static constexpr bool Has(int64_t place) { return Sizes<is_short>::HasPlace(place); }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    ToPoints<is_short>([&](int64_t i) INSIGHTFACE_LAMBDA { return x(2 * i); }, write);
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTile; ++i) { write(kStridedPoints + i, x(2 * i + 1)); }
  }
};

template<bool is_short>
struct Gradients : Sizes<is_short> {
  using Sizes<is_short>::kTile;
  static constexpr int64_t kIn = kTile + 1, kInSide = kStridedOutputs, kOut = kStridedPlaces;
  static constexpr bool Has(int64_t place) { return Sizes<is_short>::HasPlace(place); }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    ToPoints<is_short>(x, write);
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTile; ++i) { write(kStridedPoints + i, x(i)); }
  }
};

template<bool is_short>
struct TileGradient : Sizes<is_short> {
  using Sizes<is_short>::kTile;
  static constexpr int64_t kIn = kTile, kInSide = kStridedTile, kOut = kStridedPlaces;
  static constexpr bool Has(int64_t place) { return Sizes<is_short>::HasPlace(place); }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    GradientToPoints<is_short>(x, write);
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTile; ++i) { write(kStridedPoints + i, x(i)); }
  }
};

template<bool is_short>
struct Products : Sizes<is_short> {
  using Sizes<is_short>::kTile;
  static constexpr int64_t kIn = kStridedPlaces, kInSide = kStridedPlaces, kOut = kTile;
  static constexpr bool Has(int64_t) { return true; }
  static constexpr bool Reads(int64_t place) { return Sizes<is_short>::HasPlace(place); }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    FromPoints<is_short>(
        x, [&](int64_t i, const Vector& y) INSIGHTFACE_LAMBDA { write(i, y + x(kStridedPoints + i)); });
  }
};

template<bool is_short>
struct InputProducts : Sizes<is_short> {
  using Sizes<is_short>::kTile;
  static constexpr int64_t kIn = kStridedPlaces, kInSide = kStridedPlaces, kOut = 2 * kTile;
  static constexpr bool Has(int64_t) { return true; }
  static constexpr bool Reads(int64_t place) { return Sizes<is_short>::HasPlace(place); }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    FromPoints<is_short>(x, [&](int64_t i, const Vector& y) INSIGHTFACE_LAMBDA { write(2 * i + 1, y); });
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTile; ++i) { write(2 * i, x(kStridedPoints + i)); }
  }
};

struct Filters {  // G, and w1 behind: 3 to 6
  static constexpr int64_t kIn = 3, kInSide = 3, kOut = kStridedPoints + 1;
  static constexpr bool Has(int64_t) { return true; }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    write(0, kZeroScale * x(0));
    const Vector even = kPScale * x(0), odd = (kPScale * kP) * x(2);
    write(1, even + odd);
    write(2, even - odd);
    write(3, kQScale * x(0) + (kQScale * kQ) * x(2));
    write(4, x(2));
    write(5, x(1));
  }
};

struct FilterGradients {  // 6 to 3
  static constexpr int64_t kIn = kStridedPoints + 1, kInSide = kIn, kOut = 3;
  static constexpr bool Has(int64_t) { return true; }
  template<typename Numbers, typename Write>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, const Write& write) {
    write(0, kZeroScale * x(0) + kPScale * (x(1) + x(2)) + kQScale * x(3));
    write(1, x(5));
    write(2, (kPScale * kP) * (x(1) - x(2)) + (kQScale * kQ) * x(3) + x(4));
  }
};

template<typename Transform, typename = void>
struct InputsOf {
  static constexpr bool Reads(int64_t) { return true; }
};
template<typename Transform>
struct InputsOf<Transform, decltype(void(Transform::Reads(0)))> {
  static constexpr bool Reads(int64_t place) { return Transform::Reads(place); }
};

// Transforms a square in both directions, columns first: x(row, column) is a number, write(row, column, y) takes one.
template<typename Rows, typename Columns, typename Numbers, typename Write>
INSIGHTFACE_INLINE void TransformSquare(const Numbers& x, const Write& write) {
  Vector half[Rows::kOut][Columns::kIn];
#pragma GCC unroll 1
  for (int64_t column = 0; column < Columns::kIn; ++column) {
    if (!InputsOf<Columns>::Reads(column)) { continue; }
    Rows::Run([&](int64_t i) INSIGHTFACE_LAMBDA { return x(i, column); },
              [&](int64_t i, const Vector& y) INSIGHTFACE_LAMBDA { half[i][column] = y; });
  }
#pragma GCC unroll 1
  for (int64_t row = 0; row < Rows::kOut; ++row) {
    if (!Rows::Has(row)) { continue; }
    Columns::Run([&](int64_t i) INSIGHTFACE_LAMBDA { return half[row][i]; },
                 [&](int64_t i, const Vector& y) INSIGHTFACE_LAMBDA { write(row, i, y); });
  }
}

template<typename Rows, typename Columns>
void ToPlacesOf(const float* const* pixels, int64_t channels, float* const* places, int64_t lanes_step) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t to = c / kWinogradLanes * lanes_step + c % kWinogradLanes;
    TransformSquare<Rows, Columns>(
        [&](int64_t row, int64_t column)
            INSIGHTFACE_LAMBDA { return LoadWhole(pixels[row * Columns::kInSide + column] + c); },
        [&](int64_t row, int64_t column, const Vector& y)
            INSIGHTFACE_LAMBDA { StoreWhole(y, places[row * kStridedPlaces + column] + to); });
  }
}

template<template<bool> typename Transform>
void ToPlaces(TileKind kind, const float* const* pixels, int64_t channels, float* const* places, int64_t lanes_step) {
  if (kind.short_rows) {
    kind.short_columns ? ToPlacesOf<Transform<true>, Transform<true>>(pixels, channels, places, lanes_step)
                       : ToPlacesOf<Transform<true>, Transform<false>>(pixels, channels, places, lanes_step);
  } else {
    kind.short_columns ? ToPlacesOf<Transform<false>, Transform<true>>(pixels, channels, places, lanes_step)
                       : ToPlacesOf<Transform<false>, Transform<false>>(pixels, channels, places, lanes_step);
  }
}

template<typename Rows, typename Columns, int64_t side>
void FromPlacesOf(const float* const* places, bool adds, float* const* pixels) {
  for (int64_t c = 0; c < kColumns; c += kLanes) {
    TransformSquare<Rows, Columns>(
        [&](int64_t row, int64_t column)
            INSIGHTFACE_LAMBDA { return LoadWhole(places[row * kStridedPlaces + column] + c); },
        [&](int64_t row, int64_t column, const Vector& y) INSIGHTFACE_LAMBDA {
          float* const pixel = pixels[row * side + column];
          if (pixel == nullptr) { return; }
          StoreWhole(adds ? y + LoadWhole(pixel + c) : y, pixel + c);
        });
  }
}

template<template<bool> typename Transform, int64_t side>
void FromPlaces(TileKind kind, const float* const* places, bool adds, float* const* pixels) {
  if (kind.short_rows) {
    kind.short_columns ? FromPlacesOf<Transform<true>, Transform<true>, side>(places, adds, pixels)
                       : FromPlacesOf<Transform<true>, Transform<false>, side>(places, adds, pixels);
  } else {
    kind.short_columns ? FromPlacesOf<Transform<false>, Transform<true>, side>(places, adds, pixels)
                       : FromPlacesOf<Transform<false>, Transform<false>, side>(places, adds, pixels);
  }
}

void ProductsToTile(TileKind kind, const float* const* places, float* const* pixels) {
  FromPlaces<Products, kStridedTile>(kind, places, false, pixels);
}

void FiltersToMatrices(const float* weights, bool mirrored, float* matrices, const FilterPlaces& places) {
  FromTaps<Vector>(weights, mirrored, matrices, places, [&](const Vector* taps, float* to) INSIGHTFACE_LAMBDA {
    TransformSquare<Filters, Filters>(
        [&](int64_t row, int64_t column) INSIGHTFACE_LAMBDA { return taps[row * Filters::kIn + column]; },
        [&](int64_t row, int64_t column, const Vector& y)
            INSIGHTFACE_LAMBDA { StoreWhole(y, to + (row * Filters::kOut + column) * places.matrix_step); });
  });
}

void MatricesToFilters(const float* matrices, float* weights, const FilterPlaces& places) {
  ToTaps<Vector>(matrices, kStridedMatrices, weights, places, [&](const float* from, Vector* taps) INSIGHTFACE_LAMBDA {
    TransformSquare<FilterGradients, FilterGradients>(
        [&](int64_t row, int64_t column) INSIGHTFACE_LAMBDA {
          return LoadWhole(from + (row * FilterGradients::kIn + column) * places.matrix_step);
        },
        [&](int64_t row, int64_t column, const Vector& y)
            INSIGHTFACE_LAMBDA { taps[row * FilterGradients::kOut + column] = y; });
  });
}

}  // namespace

const StridedTransforms kStridedTransforms = {
    ToPlaces<Patch>,           ToPlaces<Gradients>,
    ToPlaces<TileGradient>,    ProductsToTile,
    FromPlaces<InputProducts, kStridedInputs>, FiltersToMatrices,
    MatricesToFilters};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
