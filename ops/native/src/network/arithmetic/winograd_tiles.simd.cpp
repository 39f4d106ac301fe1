#include "network/arithmetic/winograd_tiles.h"

#include <cstring>

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int64_t kTile = kWinogradTile, kPatch = kWinogradPatch, kLanes = kWinogradLanes;
constexpr int64_t kFilter = 3, kTaps = kWinogradTaps;

// Sixteen channels, in as few registers as the instruction set allows.
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t LaneBits __attribute__((vector_size(kLanes * sizeof(uint32_t))));
typedef uint16_t HalfLanes __attribute__((vector_size(kLanes * sizeof(uint16_t))));

// The points are 0, +-p, +-q and infinity; all constants but the filter's are exact in float32.
constexpr float kP = 0.75f, kQ = 1.5f;
constexpr float kP2 = kP * kP, kQ2 = kQ * kQ, kP3 = kP2 * kP, kQ3 = kQ2 * kQ;
constexpr float kP2Q2 = kP2 * kQ2, kSum = kP2 + kQ2;
constexpr float kZeroScale = 1 / kP2Q2;
constexpr float kPScale = 1 / (2 * kP2 * (kP2 - kQ2)), kQScale = 1 / (2 * kQ2 * (kQ2 - kP2));

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

// The one-dimensional transforms: they read numbers `from` apart and write numbers `to` apart.

struct PatchTransform {  // B^T, 6 to 6
  static constexpr int64_t kIn = kPatch, kOut = kPatch;
  static INSIGHTFACE_INLINE void Run(const Lanes* x, int64_t from, Lanes* y, int64_t to) {
    const Lanes even_p = x[4 * from] - kQ2 * x[2 * from], odd_p = kP * (x[3 * from] - kQ2 * x[from]);
    const Lanes even_q = x[4 * from] - kP2 * x[2 * from], odd_q = kQ * (x[3 * from] - kP2 * x[from]);
    y[0] = kP2Q2 * x[0] - kSum * x[2 * from] + x[4 * from];
    y[to] = even_p + odd_p;
    y[2 * to] = even_p - odd_p;
    y[3 * to] = even_q + odd_q;
    y[4 * to] = even_q - odd_q;
    y[5 * to] = kP2Q2 * x[from] - kSum * x[3 * from] + x[5 * from];
  }
};

struct ProductsTransform {  // A^T, 6 to 4
  static constexpr int64_t kIn = kPatch, kOut = kTile;
  static INSIGHTFACE_INLINE void Run(const Lanes* x, int64_t from, Lanes* y, int64_t to) {
    const Lanes even_p = x[from] + x[2 * from], odd_p = x[from] - x[2 * from];
    const Lanes even_q = x[3 * from] + x[4 * from], odd_q = x[3 * from] - x[4 * from];
    y[0] = x[0] + even_p + even_q;
    y[to] = kP * odd_p + kQ * odd_q;
    y[2 * to] = kP2 * even_p + kQ2 * even_q;
    y[3 * to] = kP3 * odd_p + kQ3 * odd_q + x[5 * from];
  }
};

struct TileGradientTransform {  // A, 4 to 6
  static constexpr int64_t kIn = kTile, kOut = kPatch;
  static INSIGHTFACE_INLINE void Run(const Lanes* x, int64_t from, Lanes* y, int64_t to) {
    const Lanes even_p = x[0] + kP2 * x[2 * from], odd_p = kP * x[from] + kP3 * x[3 * from];
    const Lanes even_q = x[0] + kQ2 * x[2 * from], odd_q = kQ * x[from] + kQ3 * x[3 * from];
    y[0] = x[0];
    y[to] = even_p + odd_p;
    y[2 * to] = even_p - odd_p;
    y[3 * to] = even_q + odd_q;
    y[4 * to] = even_q - odd_q;
    y[5 * to] = x[3 * from];
  }
};

struct FilterTransform {  // G, 3 to 6
  static constexpr int64_t kIn = kFilter, kOut = kPatch;
  static INSIGHTFACE_INLINE void Run(const Lanes* x, int64_t from, Lanes* y, int64_t to) {
    const Lanes even_p = kPScale * (x[0] + kP2 * x[2 * from]), odd_p = (kPScale * kP) * x[from];
    const Lanes even_q = kQScale * (x[0] + kQ2 * x[2 * from]), odd_q = (kQScale * kQ) * x[from];
    y[0] = kZeroScale * x[0];
    y[to] = even_p + odd_p;
    y[2 * to] = even_p - odd_p;
    y[3 * to] = even_q + odd_q;
    y[4 * to] = even_q - odd_q;
    y[5 * to] = x[2 * from];
  }
};

struct FilterGradientTransform {  // G^T, 6 to 3
  static constexpr int64_t kIn = kPatch, kOut = kFilter;
  static INSIGHTFACE_INLINE void Run(const Lanes* x, int64_t from, Lanes* y, int64_t to) {
    const Lanes even_p = kPScale * (x[from] + x[2 * from]), odd_p = kPScale * (x[from] - x[2 * from]);
    const Lanes even_q = kQScale * (x[3 * from] + x[4 * from]), odd_q = kQScale * (x[3 * from] - x[4 * from]);
    y[0] = kZeroScale * x[0] + even_p + even_q;
    y[to] = kP * odd_p + kQ * odd_q;
    y[2 * to] = kP2 * even_p + kQ2 * even_q + x[5 * from];
  }
};

// Transforms a square in both directions: columns, then rows.
template<typename Transform>
INSIGHTFACE_INLINE void TransformSquare(const Lanes (&x)[Transform::kIn * Transform::kIn],
                                        Lanes (&y)[Transform::kOut * Transform::kOut]) {
  constexpr int64_t kIn = Transform::kIn, kOut = Transform::kOut;
  Lanes half[kOut * kIn];
  for (int64_t column = 0; column < kIn; ++column) { Transform::Run(x + column, kIn, half + column, kIn); }
  for (int64_t row = 0; row < kOut; ++row) { Transform::Run(half + row * kIn, 1, y + row * kOut, 1); }
}

// Transforms the pixels of a square into the 36 matrices.
template<typename Transform, typename T>
void ToMatrices(const T* const* pixels, int64_t channels, T* matrices, int64_t step) {
  Lanes x[Transform::kIn * Transform::kIn], y[kWinogradMatrices];
  for (int64_t c = 0; c < channels; c += kLanes) {
    for (int64_t i = 0; i < Transform::kIn * Transform::kIn; ++i) { LoadLanes(pixels[i] + c, &x[i]); }
    TransformSquare<Transform>(x, y);
    for (int64_t i = 0; i < kWinogradMatrices; ++i) { StoreLanes(&y[i], matrices + i * step + c); }
  }
}

template<typename Transform>
INSIGHTFACE_INLINE void FromMatrices(const float* matrices, int64_t step,
                                     Lanes (&y)[Transform::kOut * Transform::kOut]) {
  Lanes x[kWinogradMatrices];
  for (int64_t i = 0; i < kWinogradMatrices; ++i) { LoadLanes(matrices + i * step, &x[i]); }
  TransformSquare<Transform>(x, y);
}

void FiltersToMatrices(const float* weights, int64_t filter_step, bool mirrored, int64_t filters, float* matrices,
                       int64_t step) {
  Lanes x[kTaps], y[kWinogradMatrices];
  float taps[kTaps][kLanes];
  for (int64_t f = 0; f < filters; f += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float* const filter = weights + (f + lane) * filter_step;
      for (int64_t tap = 0; tap < kTaps; ++tap) { taps[tap][lane] = filter[mirrored ? kTaps - 1 - tap : tap]; }
    }
    for (int64_t tap = 0; tap < kTaps; ++tap) { LoadLanes(taps[tap], &x[tap]); }
    TransformSquare<FilterTransform>(x, y);
    for (int64_t i = 0; i < kWinogradMatrices; ++i) { StoreLanes(&y[i], matrices + i * step + f); }
  }
}

void ProductsToTile(const float* matrices, int64_t step, int64_t channels, const TileEpilogue& epilogue,
                    float* const* pixels) {
  Lanes y[kTile * kTile];
  for (int64_t c = 0; c < channels; c += kLanes) {
    FromMatrices<ProductsTransform>(matrices + c, step, y);
    Lanes bias = {}, slope = {}, addend;
    if (epilogue.bias != nullptr) { LoadLanes(epilogue.bias + c, &bias); }
    if (epilogue.slope != nullptr) { LoadLanes(epilogue.slope + c, &slope); }
    for (int64_t i = 0; i < kTile * kTile; ++i) {
      if (pixels[i] == nullptr) { continue; }
      Lanes value = y[i] + bias;
      if (epilogue.slope != nullptr) { value = value > 0 ? value : value * slope; }
      if (epilogue.addends != nullptr) {
        LoadLanes(epilogue.addends[i] + c, &addend);
        value += addend;
      }
      StoreLanes(&value, pixels[i] + c);
    }
  }
}

void MatricesToFilters(const float* matrices, int64_t step, int64_t filters, float* weights, int64_t filter_step) {
  Lanes y[kTaps];
  float taps[kTaps][kLanes];
  for (int64_t f = 0; f < filters; f += kLanes) {
    FromMatrices<FilterGradientTransform>(matrices + f, step, y);
    for (int64_t tap = 0; tap < kTaps; ++tap) { StoreLanes(&y[tap], taps[tap]); }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      float* const filter = weights + (f + lane) * filter_step;
      for (int64_t tap = 0; tap < kTaps; ++tap) { filter[tap] = taps[tap][lane]; }
    }
  }
}

template<typename T>
constexpr MapTransforms<T> kMapTransforms = {ToMatrices<PatchTransform, T>, ToMatrices<TileGradientTransform, T>};

}  // namespace

const TileTransforms kTileTransforms = {
    {kMapTransforms<float>, kMapTransforms<BFloat16>}, FiltersToMatrices, ProductsToTile, MatricesToFilters};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
