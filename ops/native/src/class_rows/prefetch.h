// Rows are scattered in memory, so the loops over them prefetch a few rows ahead.
#pragma once

#include <cstdint>

namespace insightface {

constexpr int64_t kRowsAhead = 4;

template<typename T>
void PrefetchRow(const T* row, int64_t width) {
  constexpr int64_t kLine = 64 / sizeof(T);  // numbers of a cache line
  for (int64_t n = 0; n < width; n += kLine) { __builtin_prefetch(row + n); }
}

}  // namespace insightface
