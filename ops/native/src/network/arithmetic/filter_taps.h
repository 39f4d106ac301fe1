// Moves the taps of 3x3 filters between memory, where the nine of a filter lie together, and vectors, one for each tap
// of as many filters as it has lanes. Include it where code is compiled for one instruction set, behind the headers
// that it includes.
#pragma once

#include <cstdint>

#include "base/number_types.h"
#include "network/arithmetic/winograd_tiles.h"

namespace insightface {
namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef float LooseQuad __attribute__((vector_size(16), aligned(4)));

template<typename Vector>
constexpr int kQuads = sizeof(Vector) / sizeof(Quad);

INSIGHTFACE_INLINE Quad LoadQuad(const float* from) { return *reinterpret_cast<const LooseQuad*>(from); }

// Four numbers from each of the addresses, `step` numbers apart, one address for each quad of the vector.
template<typename Vector>
INSIGHTFACE_INLINE Vector LoadQuads(const float* from, int64_t step) {
  if constexpr (kQuads<Vector> == 1) {
    return LoadQuad(from);
  } else {
    const auto low = __builtin_shufflevector(LoadQuad(from), LoadQuad(from + step), 0, 1, 2, 3, 4, 5, 6, 7);
    if constexpr (kQuads<Vector> == 2) {
      return low;
    } else {
      from += 2 * step;
      const auto high = __builtin_shufflevector(LoadQuad(from), LoadQuad(from + step), 0, 1, 2, 3, 4, 5, 6, 7);
      return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
  }
}

// The same to the addresses.
template<typename Vector>
INSIGHTFACE_INLINE void StoreQuads(const Vector& value, float* to, int64_t step) {
  const auto store = [&](int64_t i, const Quad& quad)
      __attribute__((always_inline)) { *reinterpret_cast<LooseQuad*>(to + i * step) = quad; };
  if constexpr (kQuads<Vector> == 1) {
    store(0, value);
  } else {
    store(0, __builtin_shufflevector(value, value, 0, 1, 2, 3));
    store(1, __builtin_shufflevector(value, value, 4, 5, 6, 7));
    if constexpr (kQuads<Vector> == 4) {
      store(2, __builtin_shufflevector(value, value, 8, 9, 10, 11));
      store(3, __builtin_shufflevector(value, value, 12, 13, 14, 15));
    }
  }
}

// Transposes the 4x4 numbers that each quad of four vectors has.
template<typename Vector>
INSIGHTFACE_INLINE void TransposeQuads(Vector* rows) {
  using Places = decltype(Vector{} < Vector{});  // integers
  constexpr int kLanes = 4 * kQuads<Vector>;
  Places low, high, left, right;
  for (int i = 0; i < kLanes; ++i) {
    const int quad = i / 4 * 4, k = i % 4;
    low[i] = quad + k / 2 + k % 2 * kLanes;
    high[i] = low[i] + 2;
    left[i] = quad + k % 2 + k / 2 * kLanes;
    right[i] = left[i] + 2;
  }
  const Vector low01 = __builtin_shuffle(rows[0], rows[1], low), low23 = __builtin_shuffle(rows[2], rows[3], low);
  const Vector high01 = __builtin_shuffle(rows[0], rows[1], high), high23 = __builtin_shuffle(rows[2], rows[3], high);
  rows[0] = __builtin_shuffle(low01, low23, left);
  rows[1] = __builtin_shuffle(low01, low23, right);
  rows[2] = __builtin_shuffle(high01, high23, left);
  rows[3] = __builtin_shuffle(high01, high23, right);
}

// The first of the four taps that are moved together; the last four overlap those before.
constexpr int64_t kFirstTaps[] = {0, 4, 5};

// taps[t]: tap t of the filters whose taps lie `step` numbers apart; mirrored, tap 8 - t.
template<typename Vector>
INSIGHTFACE_INLINE void LoadTaps(const float* filters, int64_t step, bool mirrored, Vector* taps) {
  constexpr int64_t kLast = 8;
  Vector found[kLast + 1];
  for (const int64_t first : kFirstTaps) {
    Vector four[4];
    for (int64_t i = 0; i < 4; ++i) { four[i] = LoadQuads<Vector>(filters + i * step + first, 4 * step); }
    TransposeQuads(four);
    for (int64_t i = 0; i < 4; ++i) { found[first + i] = four[i]; }
  }
  for (int64_t tap = 0; tap <= kLast; ++tap) { taps[tap] = mirrored ? found[kLast - tap] : found[tap]; }
}

template<typename Vector>
INSIGHTFACE_INLINE void StoreTaps(const Vector* taps, float* filters, int64_t step) {
  for (const int64_t first : kFirstTaps) {
    Vector four[4];
    for (int64_t i = 0; i < 4; ++i) { four[i] = taps[first + i]; }
    TransposeQuads(four);
    for (int64_t i = 0; i < 4; ++i) { StoreQuads(four[i], filters + i * step + first, 4 * step); }
  }
}

// Prefetches what the gradients of the next channels of a vector of filters are transformed from and to: both lie in
// steps too wide for the processor to foresee.
template<typename Vector>
INSIGHTFACE_INLINE void PrefetchUpcoming(const float* matrices, int64_t count, const float* filters,
                                         const FilterPlaces& places) {
  constexpr int64_t kRead = 2, kWritten = 4;  // channels ahead
  constexpr int kToWrite = 1;
  for (int64_t i = 0; i < count; ++i) {
    __builtin_prefetch(matrices + kRead * places.row_step + i * places.matrix_step);
  }
  for (int64_t lane = 0; lane < 4 * kQuads<Vector>; ++lane) {
    __builtin_prefetch(filters + kWritten * places.channel_step + lane * places.filter_step, kToWrite);
  }
}

// Calls transform(taps, matrices): the taps of a vector of filters of each channel, and the place of their matrices.
template<typename Vector, typename Transform>
INSIGHTFACE_INLINE void FromTaps(const float* weights, bool mirrored, float* matrices, const FilterPlaces& places,
                                 const Transform& transform) {
  for (int64_t f = 0; f < places.filters; f += 4 * kQuads<Vector>) {
    for (int64_t c = 0; c < places.channels; ++c) {
      Vector taps[kWinogradTaps];
      LoadTaps(weights + f * places.filter_step + c * places.channel_step, places.filter_step, mirrored, taps);
      transform(taps, matrices + c * places.row_step + f);
    }
  }
}

// Calls transform(matrices, taps), which writes the taps from `count` matrices.
template<typename Vector, typename Transform>
INSIGHTFACE_INLINE void ToTaps(const float* matrices, int64_t count, float* weights, const FilterPlaces& places,
                               const Transform& transform) {
  for (int64_t f = 0; f < places.filters; f += 4 * kQuads<Vector>) {
    for (int64_t c = 0; c < places.channels; ++c) {
      const float* const from = matrices + c * places.row_step + f;
      float* const filters = weights + f * places.filter_step + c * places.channel_step;
      PrefetchUpcoming<Vector>(from, count, filters, places);
      Vector taps[kWinogradTaps];
      transform(from, taps);
      StoreTaps(taps, filters, places.filter_step);
    }
  }
}

}  // namespace
}  // namespace insightface
