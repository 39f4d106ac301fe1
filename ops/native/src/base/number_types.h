// The two number types of feature maps. Arithmetic is always float32; bfloat16 is only a way to store a value.
#pragma once

#include <cstdint>
#include <cstring>

namespace insightface {

struct BFloat16 {
  uint16_t bits;
};

enum class NumberType { kFloat32, kBFloat16 };

template<typename T>
constexpr NumberType kTypeOf = NumberType::kFloat32;
template<>
inline constexpr NumberType kTypeOf<BFloat16> = NumberType::kBFloat16;

inline int64_t BytesOf(NumberType type) { return type == NumberType::kFloat32 ? 4 : 2; }

// Always inlined: a copy compiled for one instruction set must not be shared with code for another.
#define INSIGHTFACE_INLINE inline __attribute__((always_inline))

INSIGHTFACE_INLINE float Load(float value) { return value; }

INSIGHTFACE_INLINE float Load(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

INSIGHTFACE_INLINE void Store(float number, float* target) { *target = number; }

// Rounds to nearest, ties to even; NaN stays NaN.
INSIGHTFACE_INLINE void Store(float number, BFloat16* target) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;
  target->bits = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

// The same table of loops for both number types.
template<template<typename> class Loops>
struct BothTypes {
  Loops<float> float32;
  Loops<BFloat16> bfloat16;

  template<typename T>
  constexpr const Loops<T>& Of() const {
    if constexpr (kTypeOf<T> == NumberType::kFloat32) {
      return float32;
    } else {
      return bfloat16;
    }
  }
};

}  // namespace insightface
