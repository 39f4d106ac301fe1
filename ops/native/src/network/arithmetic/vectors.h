// Vectors of floats as wide as the registers of an instruction set. Only *.simd.cpp files include this header, once per
// level.
#pragma once

#include <cstdint>

#include "base/number_types.h"
#include "network/arithmetic/channel_rows.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Channels of one vector register.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float LooseVector __attribute__((vector_size(4 * kLanes), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
typedef uint16_t LooseHalves __attribute__((vector_size(2 * kLanes), aligned(2)));

INSIGHTFACE_INLINE Vector LoadWhole(const float* from) { return *reinterpret_cast<const LooseVector*>(from); }
INSIGHTFACE_INLINE Vector LoadWhole(const BFloat16* from) {
  const LooseHalves& halves = *reinterpret_cast<const LooseHalves*>(from);
#ifdef __AVX2__
  Words wide;  // GCC 12 makes five instructions of __builtin_convertvector
  asm("vpmovzxwd %1, %0" : "=v"(wide) : "vm"(halves));
#else
  const Words wide = __builtin_convertvector(static_cast<Halves>(halves), Words);
#endif
  return reinterpret_cast<Vector>(wide << 16);
}
INSIGHTFACE_INLINE void StoreWhole(Vector value, float* to) { *reinterpret_cast<LooseVector*>(to) = value; }
// As Store of a single number rounds; the one instruction also makes numbers below 1e-38 zero.
INSIGHTFACE_INLINE Halves Rounded(Vector value) {
#ifdef __AVX512F__
  if (kRoundsToBFloat16) {
    Halves halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(value));
    return halves;
  }
#endif
  const Words bits = reinterpret_cast<Words>(value);
  const Words quiet = bits | 0x400000, rounded = bits + (((bits >> 16) & 1) + 0x7fff);
  return __builtin_convertvector((value == value ? rounded : quiet) >> 16, Halves);
}
INSIGHTFACE_INLINE void StoreWhole(Vector value, BFloat16* to) { *reinterpret_cast<LooseHalves*>(to) = Rounded(value); }

// The first `count` channels, fewer than a vector has; the others are 0 and are not touched. Rare, and not inlined.
template<typename T>
__attribute__((noinline)) Vector LoadPart(const T* from, int64_t count) noexcept {
  Vector value = {};
  for (int64_t lane = 0; lane < count; ++lane) { value[lane] = Load(from[lane]); }
  return value;
}
template<typename T>
__attribute__((noinline)) void StorePart(Vector value, T* to, int64_t count) noexcept {
  for (int64_t lane = 0; lane < count; ++lane) { Store(value[lane], to + lane); }
}

// All channels of a vector, where the compiler knows that they are there.
struct AllLanes {};
template<typename T>
INSIGHTFACE_INLINE Vector LoadPart(const T* from, AllLanes) {
  return LoadWhole(from);
}
template<typename T>
INSIGHTFACE_INLINE void StorePart(Vector value, T* to, AllLanes) {
  StoreWhole(value, to);
}

template<typename Count>
INSIGHTFACE_INLINE void AddPart(Vector value, float* to, Count count) {
  StorePart(LoadPart(to, count) + value, to, count);
}

// Calls visit(c, count) for each vector of channels, c its first: `count` is AllLanes, or a number for the last vector.
template<typename Visit>
INSIGHTFACE_INLINE void ForVectors(int64_t channels, const Visit& visit) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) { visit(c, AllLanes{}); }
  if (c < channels) { visit(c, channels - c); }
}

INSIGHTFACE_INLINE Vector Select(Vector v, Vector positive, Vector negative) { return v > 0.0f ? positive : negative; }

// The affine map of one vector of channels; without a slope, a slope of 1.
struct Affine {
  Vector mean, scale, shift, slope;
};
template<typename Count>
INSIGHTFACE_INLINE Affine LoadAffine(const ChannelAffine& affine, int64_t c, Count count) {
  const Vector ones = Vector{} + 1.0f;
  return {LoadPart(affine.mean + c, count), LoadPart(affine.scale + c, count), LoadPart(affine.shift + c, count),
          affine.slope != nullptr ? LoadPart(affine.slope + c, count) : ones};
}

}  // namespace
}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
