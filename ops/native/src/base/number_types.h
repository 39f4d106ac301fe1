// The two number types of feature maps. Arithmetic is always float32; bfloat16 is how a value may be kept.
#pragma once

#include <cstdint>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>

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

inline dnnl::memory::data_type OneDnnType(NumberType type) {
  return type == NumberType::kFloat32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

inline float Load(float value) { return value; }

inline float Load(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

inline void Store(float number, float* target) { *target = number; }

// Rounds to nearest, ties to even; NaN stays NaN.
inline void Store(float number, BFloat16* target) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;
  target->bits = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

}  // namespace insightface
