// The memory that a thread needs next: a product, which waits for arithmetic rather than for memory, prefetches it line
// by line into the second level cache.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

struct Upcoming {
  static constexpr int64_t kLineBytes = 64;
  struct Lines {
    const char* start = nullptr;
    int64_t count = 0;

    INSIGHTFACE_INLINE void Prefetch(int64_t line) const {
      constexpr int kToRead = 0, kSecondLevel = 2;
      __builtin_prefetch(start + line * kLineBytes, kToRead, kSecondLevel);
    }
  };

  Upcoming() = default;
  Upcoming(const void* start, int64_t bytes) { Add(start, bytes); }

  INSIGHTFACE_INLINE void Clear() { ranges = 0, left = 0; }

  // Adds `bytes` bytes, unless a range that starts there has been added.
  INSIGHTFACE_INLINE void Add(const void* start, int64_t bytes) {
    const char* const first = static_cast<const char*>(start);
    for (int i = 0; i < ranges; ++i) {
      if (lines[i].start == first) { return; }
    }
    if (ranges == kMostRanges || bytes <= 0) { return; }
    const int64_t count = (bytes + kLineBytes - 1) / kLineBytes;
    lines[ranges++] = {first, count};
    left += count;
  }

  // Takes the share of one of `parts` equal parts of the work to come, neighbouring lines, at most `most`.
  INSIGHTFACE_INLINE Lines Take(int64_t parts, int64_t most) {
    if (left == 0) { return {nullptr, 0}; }
    Lines& range = lines[ranges - 1];
    const int64_t share = (left + parts - 1) / parts, limit = share < most ? share : most;
    const Lines taken{range.start, limit < range.count ? limit : range.count};
    range.start += taken.count * kLineBytes;
    range.count -= taken.count;
    left -= taken.count;
    if (range.count == 0) { --ranges; }
    return taken;
  }

  static constexpr int kMostRanges = 8;
  Lines lines[kMostRanges];
  int ranges = 0;
  int64_t left = 0;  // lines of all ranges
};

}  // namespace insightface
