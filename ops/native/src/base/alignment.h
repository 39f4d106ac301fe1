// Memory that starts where vector instructions work best.
#pragma once

#include <cstdint>

namespace insightface {

constexpr int64_t kAlignment = 64;

// Rounds a size up, so that what follows a piece of so many bytes is aligned again.
constexpr int64_t AlignedSize(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The first aligned address from `memory` on.
inline char* AlignPointer(void* memory) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  return static_cast<char*>(memory) + (kAlignment - address % kAlignment) % kAlignment;
}

}  // namespace insightface
