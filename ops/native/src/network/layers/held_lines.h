// The last lines of a map that each thread has spread for a depthwise convolution (network/arithmetic/depthwise_lines.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/depthwise_lines.h"
#include "network/arithmetic/value.h"

namespace insightface {

// The lines of an image processed at a time: a divisor of `height`, few enough for the caches and to keep all threads
// busy.
inline int64_t ChooseLines(int64_t batch, int64_t height, int64_t width) {
  constexpr int64_t kMostRows = 256, kBlocksPerThread = 4;
  const int64_t threads = omp_get_max_threads();
  int64_t lines = height;
  while (lines > 1 && (height % lines != 0 || lines * width > kMostRows ||
                       batch * (height / lines) < std::min(kBlocksPerThread * threads, batch * height))) {
    --lines;
  }
  return lines;
}

class HeldLines {
 public:
  // The memory of all threads for lines of `width` pixels.
  static int64_t Bytes(int64_t width, int64_t channels) { return omp_get_max_threads() * ThreadBytes(width, channels); }

  void Reset(char* memory) {
    memory_ = memory;
    threads_.assign(omp_get_max_threads(), {{-1, -1, -1}});
  }

  // Returns line `row` of image `image`, of `shape`, spread by spread(number, line) unless the thread holds it; null
  // outside the image.
  template<typename SpreadLine>
  const float* Get(const ValueShape& shape, int64_t image, int64_t row, int thread, const SpreadLine& spread) {
    if (row < 0 || row >= shape.height) { return nullptr; }
    const int64_t number = image * shape.height + row, place = number % kHeld;
    char* const memory = memory_ + thread * ThreadBytes(shape.width, shape.channels) +
                         place * LineBytes(shape.width, shape.channels);
    float* const line = reinterpret_cast<float*>(memory);
    if (threads_[thread].lines[place] != number) { spread(number, line); }
    threads_[thread].lines[place] = number;
    return line;
  }

 private:
  static constexpr int64_t kHeld = 3;
  // Line number n of the batch is in place n % kHeld.
  struct Thread {
    int64_t lines[kHeld];
  };

  static int64_t LineBytes(int64_t width, int64_t channels) {
    return AlignedSize(SpreadNumbers(width, channels) * static_cast<int64_t>(sizeof(float)));
  }
  static int64_t ThreadBytes(int64_t width, int64_t channels) { return kHeld * LineBytes(width, channels); }

  char* memory_ = nullptr;
  std::vector<Thread> threads_;
};

}  // namespace insightface
