#include "network/arithmetic/winograd_tiles.h"

#include <cstring>

#include "network/arithmetic/winograd_points.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kLanes = kWinogradLanes;
constexpr int64_t kFilter = 3, kTaps = kWinogradTaps;

// Sixteen channels, in as few registers as the instruction set allows.
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t LaneBits __attribute__((vector_size(kLanes * sizeof(uint32_t))));
typedef uint16_t HalfLanes __attribute__((vector_size(kLanes * sizeof(uint16_t))));

constexpr float kSum = kP2 + kQ2;

INSIGHTFACE_INLINE void LoadLanes(const float* from, Lanes* lanes) { std::memcpy(lanes, from, sizeof(*lanes)); }
INSIGHTFACE_INLINE void StoreLanes(const Lanes* lanes, float* to) { std::memcpy(to, lanes, sizeof(*lanes)); }

INSIGHTFACE_INLINE void LoadLanes(const BFloat16* from, Lanes* lanes) {
  HalfLanes halves;
  std::memcpy(&halves, from, sizeof(halves));
  const LaneBits bits = __builtin_convertvector(halves, LaneBits) << 16;
  std::memcpy(lanes, &bits, sizeof(bits));
}

// Rounds to nearest, ties to even. The numbers stored here come from bfloat16 numbers, so the lower half of a NaN is
// empty and rounding it does not carry into the upper half.
INSIGHTFACE_INLINE void StoreLanes(const Lanes* lanes, BFloat16* to) {
  LaneBits bits;
  std::memcpy(&bits, lanes, sizeof(bits));
  const HalfLanes halves = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, HalfLanes);
  std::memcpy(to, &halves, sizeof(halves));
}

// The one-dimensional transforms. Outputs come in groups that share sums: Run<group> reads numbers `from` apart and
// writes the group's outputs to their places among numbers `to` apart.

struct PatchTransform {  // B^T, 6 to 6
  static constexpr int64_t kIn = kPatch, kOut = kPatch, kGroups = 4;
  static constexpr int64_t kInSide = kPatch, kOutSide = kPatch;
  static constexpr int64_t kGroup[kOut] = {0, 1, 1, 2, 2, 3};
  template<int64_t group, typename Numbers>
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = kP2Q2 * x(0) - kSum * x(2) + x(4);
    } else if constexpr (group == 1) {
      const Lanes even = x(4) - kQ2 * x(2), odd = x(3) - kQ2 * x(1);
      y[to] = even + kP * odd;
      y[2 * to] = even - kP * odd;
    } else if constexpr (group == 2) {
      const Lanes even = x(4) - kP2 * x(2), odd = x(3) - kP2 * x(1);
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      const Lanes even_p = x(1) + x(2), even_q = x(3) + x(4);
      y[0] = x(0) + even_p + even_q;
      y[2 * to] = kP2 * even_p + kQ2 * even_q;
    } else {
      const Lanes odd_p = x(1) - x(2), odd_q = x(3) - x(4);
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = x(0);
    } else if constexpr (group == 1) {
      const Lanes even = x(0) + kP2 * x(2), odd = x(1) + kP2 * x(3);
      y[to] = even + kP * odd;
      y[2 * to] = even - kP * odd;
    } else if constexpr (group == 2) {
      const Lanes even = x(0) + kQ2 * x(2), odd = x(1) + kQ2 * x(3);
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = kZeroScale * x(0);
    } else if constexpr (group == 1) {
      const Lanes even = kPScale * (x(0) + kP2 * x(2)), odd = (kPScale * kP) * x(1);
      y[to] = even + odd;
      y[2 * to] = even - odd;
    } else if constexpr (group == 2) {
      const Lanes even = kQScale * (x(0) + kQ2 * x(2)), odd = (kQScale * kQ) * x(1);
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      const Lanes even_p = kPScale * (x(1) + x(2)), even_q = kQScale * (x(3) + x(4));
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      const Lanes even = x(1) + x(2);
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
  static INSIGHTFACE_INLINE void Run(const Numbers& x, Lanes* y, int64_t to) {
    if constexpr (group == 0) {
      y[0] = x(0);
    } else if constexpr (group == 1) {
      const Lanes even = x(0) + kP2 * x(2);
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
INSIGHTFACE_INLINE void RunGroups(const Numbers& x, Lanes* y, int64_t to) {
  Transform::template Run<0>(x, y, to);
  Transform::template Run<1>(x, y, to);
  if constexpr (Transform::kGroups > 2) {
    Transform::template Run<2>(x, y, to);
    Transform::template Run<3>(x, y, to);
  }
}

// Transforms the rows of `half`, whose columns have been transformed, that belong to a group; -1: all of them.
template<typename Rows, typename Columns, int64_t group, typename Write>
INSIGHTFACE_INLINE void TransformRows(const Lanes* half, const Write& write) {
#pragma GCC unroll 6
  for (int64_t row = 0; row < Rows::kOut; ++row) {
    if (Rows::kGroup[row] < 0 || (group >= 0 && Rows::kGroup[row] != group)) { continue; }
    Lanes y[Columns::kOut];
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
  Lanes half[Rows::kOut * kIn];
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
  Lanes half[Rows::kOut * kIn];
  for (int64_t column = 0; column < kIn; ++column) {
    RunGroups<Rows>(
        [&](int64_t i) __attribute__((always_inline)) { return x(i * Columns::kInSide + column); }, half + column, kIn);
  }
  TransformRows<Rows, Columns, -1>(half, write);
#endif
}

template<typename T>
INSIGHTFACE_INLINE Lanes Loaded(const T* from) {
  Lanes lanes;
  LoadLanes(from, &lanes);
  return lanes;
}

// Transforms the pixels of a square into the 36 matrices.
template<typename Rows, typename Columns, typename T>
void ToMatricesOf(const T* const* pixels, const T* const* next, int64_t channels, T* matrices, MatrixPlaces places) {
  const auto write = [&](int64_t c) {
    T* const to = matrices + c / kLanes * places.lanes_step;
    return [=](int64_t i, const Lanes& y) { StoreLanes(&y, to + i * places.step); };
  };
  for (int64_t c = 0; c < channels; c += kLanes) {
    if (next != nullptr) {
      for (int64_t i = 0; i < Rows::kInSide * Columns::kInSide; ++i) { __builtin_prefetch(next[i] + c); }
    }
    if constexpr (kTypeOf<T> == NumberType::kFloat32) {
      TransformSquare<
          Rows, Columns>([&](int64_t i) __attribute__((always_inline)) { return Loaded(pixels[i] + c); }, write(c));
    } else {
      // Widened once, as a group of rows reads its columns again.
      Lanes x[Rows::kInSide * Columns::kInSide];
      for (int64_t row = 0; row < Rows::kIn; ++row) {
        for (int64_t column = 0; column < Columns::kIn; ++column) {
          const int64_t i = row * Columns::kInSide + column;
          x[i] = Loaded(pixels[i] + c);
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

void FiltersToMatrices(const float* weights, int64_t filter_step, bool mirrored, int64_t filters, float* matrices,
                       int64_t step) {
  float taps[kTaps][kLanes];
  for (int64_t f = 0; f < filters; f += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float* const filter = weights + (f + lane) * filter_step;
      for (int64_t tap = 0; tap < kTaps; ++tap) { taps[tap][lane] = filter[mirrored ? kTaps - 1 - tap : tap]; }
    }
    TransformSquare<FilterTransform, FilterTransform>(
        [&](int64_t i) __attribute__((always_inline)) { return Loaded(taps[i]); },
        [&](int64_t i, const Lanes& y) { StoreLanes(&y, matrices + i * step + f); });
  }
}

template<typename Rows, typename Columns>
void ProductsToTileOf(const float* matrices, int64_t step, int64_t channels, const TileEpilogue& epilogue,
                      float* const* pixels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Lanes bias = epilogue.bias != nullptr ? Loaded(epilogue.bias + c) : Lanes{};
    const Lanes slope = epilogue.slope != nullptr ? Loaded(epilogue.slope + c) : Lanes{};
    TransformSquare<Rows, Columns>(
        [&](int64_t i) __attribute__((always_inline)) { return Loaded(matrices + i * step + c); },
        [&](int64_t i, const Lanes& y) {
          if (pixels[i] == nullptr) { return; }
          Lanes value = y + bias;
          if (epilogue.slope != nullptr) { value = value > 0 ? value : value * slope; }
          if (epilogue.addends != nullptr) { value += Loaded(epilogue.addends[i] + c); }
          StoreLanes(&value, pixels[i] + c);
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

void MatricesToFilters(const float* matrices, int64_t step, int64_t filters, float* weights, int64_t filter_step) {
  float taps[kTaps][kLanes];
  for (int64_t f = 0; f < filters; f += kLanes) {
    TransformSquare<FilterGradientTransform, FilterGradientTransform>(
        [&](int64_t i) __attribute__((always_inline)) { return Loaded(matrices + i * step + f); },
        [&](int64_t i, const Lanes& y) { StoreLanes(&y, taps[i]); });
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      float* const filter = weights + (f + lane) * filter_step;
      for (int64_t tap = 0; tap < kTaps; ++tap) { filter[tap] = taps[tap][lane]; }
    }
  }
}

template<typename T>
constexpr MapTransforms<T> kMapTransforms = {ToMatrices<PatchTransform, ShortPatchTransform, T>,
                                             ToMatrices<TileGradientTransform, ShortGradientTransform, T>};

}  // namespace

const TileTransforms kTileTransforms = {
    {kMapTransforms<float>, kMapTransforms<BFloat16>}, FiltersToMatrices, ProductsToTile, MatricesToFilters};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
