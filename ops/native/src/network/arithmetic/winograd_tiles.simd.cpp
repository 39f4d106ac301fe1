#include "network/arithmetic/winograd_tiles.h"

#include <cstring>

#include "network/arithmetic/filter_taps.h"
#include "network/arithmetic/vectors.h"
#include "network/arithmetic/winograd_points.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch;
constexpr int64_t kFilter = 3, kTaps = kWinogradTaps;

static_assert(kWinogradLanes % kLanes == 0, "the channels of a group are whole vectors");

// Unlike StoreWhole it may change anything, for all that GCC knows, which otherwise reads the addresses of all pixels
// first, and spills them.
INSIGHTFACE_INLINE void Write(Vector value, float* to) { std::memcpy(to, &value, sizeof(value)); }
INSIGHTFACE_INLINE void Write(Vector value, BFloat16* to) {
  const Halves halves = Rounded(value);
  std::memcpy(to, &halves, sizeof(halves));
}

constexpr float kSum = kP2 + kQ2;

// The one-dimensional transforms. Outputs come in groups that share sums: Run<group> reads numbers `from` apart and
// writes the group's outputs to their places among numbers `to` apart.

struct PatchTransform {  // B^T, 6 to 6
  static constexpr int64_t kIn = kPatch, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kPatch, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, 2, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = kP2Q2 * x(0) - kSum * x(2) + x(4);
    } else if constexpr (group == 1) {
      const Vector even = x(4) - kQ2 * x(2), odd = x(3) - kQ2 * x(1);
      y[to] = even + kP * odd;
      y[2 * to] = even - kP * odd;
    } else if constexpr (group == 2) {
      const Vector even = x(4) - kP2 * x(2), odd = x(3) - kP2 * x(1);
      y[3 * to] = even + kQ * odd;
      y[4 * to] = even - kQ * odd;
    } else {
      y[5 * to] = kP2Q2 * x(1) - kSum * x(3) + x(5);
    }
  }
};

struct ProductsTransform {  // A^T, 6 to 4
  static constexpr int64_t kIn = kPatch, kOut = kTile, kGroups = 2;
  static constexpr int64_t kInSide = kPatch, kOutSide = kTile;
  static constexpr int64_t kGroup[kOut] = {0, 1, 0, 1};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      const Vector even_p = x(1) + x(2), even_q = x(3) + x(4);
      y[0] = x(0) + even_p + even_q;
      y[2 * to] = kP2 * even_p + kQ2 * even_q;
    } else {
      const Vector odd_p = x(1) - x(2), odd_q = x(3) - x(4);
      y[to] = kP * odd_p + kQ * odd_q;
      y[3 * to] = kP3 * odd_p + kQ3 * odd_q + x(5);
    }
  }
};

struct TileGradientTransform {  // A, 4 to 6
  static constexpr int64_t kIn = kTile, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kTile, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, 2, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = x(0);
    } else if constexpr (group == 1) {
      const Vector even = x(0) + kP2 * x(2), odd = x(1) + kP2 * x(3);
      y[to] = even + kP * odd;
      y[2 * to] = even - kP * odd;
    } else if constexpr (group == 2) {
      const Vector even = x(0) + kQ2 * x(2), odd = x(1) + kQ2 * x(3);
      y[3 * to] = even + kQ * odd;
      y[4 * to] = even - kQ * odd;
    } else {
      y[5 * to] = x(3);
    }
  }
};

struct FilterTransform {  // G, 3 to 6
  static constexpr int64_t kIn = kFilter, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kFilter, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, 2, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = kZeroScale * x(0);
    } else if constexpr (group == 1) {
      const Vector even = kPScale * (x(0) + kP2 * x(2)), odd = (kPScale * kP) * x(1);
      y[to] = even + odd;
      y[2 * to] = even - odd;
    } else if constexpr (group == 2) {
      const Vector even = kQScale * (x(0) + kQ2 * x(2)), odd = (kQScale * kQ) * x(1);
      y[3 * to] = even + odd;
      y[4 * to] = even - odd;
    } else {
      y[5 * to] = x(2);
    }
  }
};

struct FilterGradientTransform {  // G^T, 6 to 3
  static constexpr int64_t kIn = kPatch, kOut = kFilter, kGroups = 2;
  static constexpr int64_t kInSide = kPatch, kOutSide = kFilter;
  static constexpr int64_t kGroup[kOut] = {0, 1, 0};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      const Vector even_p = kPScale * (x(1) + x(2)), even_q = kQScale * (x(3) + x(4));
      y[0] = kZeroScale * x(0) + even_p + even_q;
      y[2 * to] = kP2 * even_p + kQ2 * even_q + x(5);
    } else {
      y[to] = (kP * kPScale) * (x(1) - x(2)) + (kQ * kQScale) * (x(3) - x(4));
    }
  }
};

// The same for tiles of 3 outputs: place 4 among the six, the point -q, is skipped.

struct ShortPatchTransform {  // B'^T, 5 to 5
  static constexpr int64_t kIn = kPatch - 1, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kPatch, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, -1, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = kP2Q2 * x(0) - (kP2 * kQ) * x(1) - kQ2 * x(2) + kQ * x(3);
    } else if constexpr (group == 1) {
      y[to] = (kP + kQ) * (x(3) + (kP - kQ) * x(2) - (kP * kQ) * x(1));
      y[2 * to] = (kQ - kP) * (x(3) - (kP + kQ) * x(2) + (kP * kQ) * x(1));
    } else if constexpr (group == 2) {
      y[3 * to] = (2 * kQ) * (x(3) - kP2 * x(1));
    } else {
      y[5 * to] = x(4) - kQ * x(3) - kP2 * x(2) + (kP2 * kQ) * x(1);
    }
  }
};

struct ShortProductsTransform {  // A'^T, 5 to 3
  static constexpr int64_t kIn = kPatch, kOut = kTile - 1, kGroups = 2;
  static constexpr int64_t kInSide = kPatch, kOutSide = kTile;
  static constexpr int64_t kGroup[kOut] = {0, 1, 0};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      const Vector even = x(1) + x(2);
      y[0] = x(0) + even + x(3);
      y[2 * to] = kP2 * even + kQ2 * x(3) + x(5);
    } else {
      y[to] = kP * (x(1) - x(2)) + kQ * x(3);
    }
  }
};

struct ShortGradientTransform {  // A', 3 to 5
  static constexpr int64_t kIn = kTile - 1, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kTile, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, -1, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Vector* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = x(0);
    } else if constexpr (group == 1) {
      const Vector even = x(0) + kP2 * x(2);
      y[to] = even + kP * x(1);
      y[2 * to] = even - kP * x(1);
    } else if constexpr (group == 2) {
      y[3 * to] = x(0) + kQ * x(1) + kQ2 * x(2);
    } else {
      y[5 * to] = x(2);
    }
  }
};

// Runs all groups of a one-dimensional transform.
template<typename Transform, typename Numbers>
INSIGHTFACE_INLINE void RunGroups(const Numbers& x, Vector* y, int64_t to) {
  Transform::template Run<0>(x, y, to);
  Transform::template Run<1>(x, y, to);
  if constexpr (Transform::kGroups > 2) {
    Transform::template Run<2>(x, y, to);
    Transform::template Run<3>(x, y, to);
  }
}

// Transforms the rows of `half`, whose columns have been transformed, that belong to a group; -1: all of them.
template<typename Rows, typename Columns, int64_t group, typename Write>
INSIGHTFACE_INLINE void TransformRows(const Vector* half, const Write& write) {
#pragma GCC unroll 6
  for (int64_t row = 0; row < Rows::kOut; ++row) {
    if (Rows::kGroup[row] < 0 || (group >= 0 && Rows::kGroup[row] != group)) { continue; }
    Vector y[Columns::kOut];
    RunGroups<Columns>([&](int64_t i) __attribute__((always_inline)) { return half[row * Columns::kIn + i]; }, y, 1);
#pragma GCC unroll 6
    for (int64_t column = 0; column < Columns::kOut; ++column) {
      if (Columns::kGroup[column] >= 0) { write(row * Columns::kOutSide + column, y[column]); }
    }
  }
}

// Writes the outputs of a group of rows of a square. What lies between the two directions stays in registers, so that
// each group reads its columns again.
template<typename Rows, typename Columns, int64_t group, typename Numbers, typename Write>
INSIGHTFACE_INLINE void TransformGroup(const Numbers& x, const Write& write) {
  constexpr int64_t kIn = Columns::kIn;
  Vector half[Rows::kOut * kIn];
#pragma GCC unroll 6
  for (int64_t column = 0; column < kIn; ++column) {
    Rows::template Run<group>(
        [&](int64_t i) __attribute__((always_inline)) { return x(i * Columns::kInSide + column); }, half + column, kIn);
  }
  TransformRows<Rows, Columns, group>(half, write);
}

// Transforms a square in both directions, columns first: x(i) is the number at place i, write(i, y) takes
// the one at place i.
template<typename Rows, typename Columns, typename Numbers, typename Write>
INSIGHTFACE_INLINE void TransformSquare(const Numbers& x, const Write& write) {
#ifdef __AVX512F__
  TransformGroup<Rows, Columns, 0>(x, write);
  TransformGroup<Rows, Columns, 1>(x, write);
  if constexpr (Rows::kGroups > 2) {
    TransformGroup<Rows, Columns, 2>(x, write);
    TransformGroup<Rows, Columns, 3>(x, write);
  }
#else
  // Too few registers: all columns first.
  constexpr int64_t kIn = Columns::kIn;
  Vector half[Rows::kOut * kIn];
  for (int64_t column = 0; column < kIn; ++column) {
    RunGroups<Rows>(
        [&](int64_t i) __attribute__((always_inline)) { return x(i * Columns::kInSide + column); }, half + column, kIn);
  }
  TransformRows<Rows, Columns, -1>(half, write);
#endif
}

// Transforms the pixels of a square into the 36 matrices.
template<typename Rows, typename Columns, typename T>
void ToMatricesOf(const T* const* pixels, const T* const* next, int64_t channels, T* matrices, MatrixPlaces places) {
  const auto write = [&](int64_t c) {
    T* const to = matrices + c / kWinogradLanes * places.lanes_step + c % kWinogradLanes;
    return [=](int64_t i, const Vector& y) { Write(y, to + i * places.step); };
  };
  for (int64_t c = 0; c < channels; c += kLanes) {
    if (next != nullptr) {
      for (int64_t i = 0; i < Rows::kInSide * Columns::kInSide; ++i) { __builtin_prefetch(next[i] + c); }
    }
    if constexpr (kTypeOf<T> == NumberType::kFloat32) {
      TransformSquare<
          Rows, Columns>([&](int64_t i) __attribute__((always_inline)) { return LoadWhole(pixels[i] + c); }, write(c));
    } else {
      // Widened once, as a group of rows reads its columns again.
      Vector x[Rows::kInSide * Columns::kInSide];
      for (int64_t row = 0; row < Rows::kIn; ++row) {
        for (int64_t column = 0; column < Columns::kIn; ++column) {
          const int64_t i = row * Columns::kInSide + column;
          x[i] = LoadWhole(pixels[i] + c);
        }
      }
      TransformSquare<Rows, Columns>([&](int64_t i) __attribute__((always_inline)) { return x[i]; }, write(c));
    }
  }
}

template<typename Transform, typename Short, typename T>
void ToMatrices(TileKind kind, const T* const* pixels, const T* const* next, int64_t channels, T* matrices,
                MatrixPlaces places) {
  if (kind.short_rows) {
    kind.short_columns ? ToMatricesOf<Short, Short>(pixels, next, channels, matrices, places)
                       : ToMatricesOf<Short, Transform>(pixels, next, channels, matrices, places);
  } else {
    kind.short_columns ? ToMatricesOf<Transform, Short>(pixels, next, channels, matrices, places)
                       : ToMatricesOf<Transform, Transform>(pixels, next, channels, matrices, places);
  }
}

void FiltersToMatrices(const float* weights, bool mirrored, float* matrices, const FilterPlaces& places) {
  const auto transform = [&](const Vector* taps, float* to) __attribute__((always_inline)) {
    TransformSquare<FilterTransform, FilterTransform>(
        [&](int64_t i) __attribute__((always_inline)) { return taps[i]; },
        [&](int64_t i, const Vector& y) { Write(y, to + i * places.matrix_step); });
  };
  FromTaps<Vector>(weights, mirrored, matrices, places, transform);
}

template<typename Rows, typename Columns>
void ProductsToTileOf(const float* matrices, int64_t step, int64_t channels, const TileEpilogue& epilogue,
                      float* const* pixels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Vector bias = epilogue.bias != nullptr ? LoadWhole(epilogue.bias + c) : Vector{};
    const Vector slope = epilogue.slope != nullptr ? LoadWhole(epilogue.slope + c) : Vector{};
    TransformSquare<Rows, Columns>(
        [&](int64_t i) __attribute__((always_inline)) { return LoadWhole(matrices + i * step + c); },
        [&](int64_t i, const Vector& y) {
          if (pixels[i] == nullptr) { return; }
          Vector value = y + bias;
          if (epilogue.slope != nullptr) { value = Select(value, value, value * slope); }
          if (epilogue.addends != nullptr) { value += LoadWhole(epilogue.addends[i] + c); }
          Write(value, pixels[i] + c);
        });
  }
}

void ProductsToTile(TileKind kind, const float* matrices, int64_t step, int64_t channels, const TileEpilogue& epilogue,
                    float* const* pixels) {
  using Whole = ProductsTransform;
  using Short = ShortProductsTransform;
  if (kind.short_rows) {
    kind.short_columns ? ProductsToTileOf<Short, Short>(matrices, step, channels, epilogue, pixels)
                       : ProductsToTileOf<Short, Whole>(matrices, step, channels, epilogue, pixels);
  } else {
    kind.short_columns ? ProductsToTileOf<Whole, Short>(matrices, step, channels, epilogue, pixels)
                       : ProductsToTileOf<Whole, Whole>(matrices, step, channels, epilogue, pixels);
  }
}

void MatricesToFilters(const float* matrices, float* weights, const FilterPlaces& places) {
  const auto transform = [&](const float* from, Vector* taps) __attribute__((always_inline)) {
    TransformSquare<FilterGradientTransform, FilterGradientTransform>(
        [&](int64_t i) __attribute__((always_inline)) { return LoadWhole(from + i * places.matrix_step); },
        [&](int64_t i, const Vector& y) __attribute__((always_inline)) { taps[i] = y; });
  };
  ToTaps<Vector>(matrices, kWinogradMatrices, weights, places, transform);
}

template<typename T>
constexpr MapTransforms<T> kMapTransforms = {ToMatrices<PatchTransform, ShortPatchTransform, T>,
                                             ToMatrices<TileGradientTransform, ShortGradientTransform, T>};

}  // namespace

const TileTransforms kTileTransforms = {
    {kMapTransforms<float>, kMapTransforms<BFloat16>}, FiltersToMatrices, ProductsToTile, MatricesToFilters};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
