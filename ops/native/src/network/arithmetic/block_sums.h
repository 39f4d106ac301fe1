// Sums over rows that arrive in blocks, each on some thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/number_types.h"

namespace insightface {

// Sums in float32 within a block, in double over all blocks.
class BlockSums {
 public:
  // Starts again with `numbers` sums of zero.
  void Reset(int64_t numbers);
  // Calls add(part), which adds the sums of a block to float32 zeros; `thread` is the calling thread.
  template<typename Add>
  void AddBlock(int thread, const Add& add) {
    Thread& own = threads_[thread];
    std::fill(own.part.begin(), own.part.end(), 0.0f);
    add(own.part.data());
    for (size_t i = 0; i < own.part.size(); ++i) { own.total[i] += own.part[i]; }
  }
  const std::vector<double>& OfThread(int thread) const { return threads_[thread].total; }
  // The sums of all threads, added one thread after the other.
  std::vector<double> Total() const;

 private:
  struct Thread {
    std::vector<float> part;
    std::vector<double> total;
  };
  std::vector<Thread> threads_;
};

struct Moments {
  double mean, variance;
};

// Mean and variance of every channel. Each thread sums distances from its first row, which keeps the variance of
// channels whose mean is far from zero.
class BlockMoments {
 public:
  void Reset(int64_t channels);
  void AddBlock(const float* x, int64_t rows, int thread) { AddBlockOf(x, rows, thread); }
  void AddBlock(const BFloat16* x, int64_t rows, int thread) { AddBlockOf(x, rows, thread); }
  Moments OfChannel(int64_t channel) const;

 private:
  struct Thread {
    int64_t rows = 0;
    std::vector<float> origin;
  };

  template<typename T>
  void AddBlockOf(const T* x, int64_t rows, int thread);
  // Calls visit(rows, origin, sum, sum of squares) of a channel for every thread that has had rows.
  template<typename Visit>
  void ForThreads(int64_t channel, const Visit& visit) const;

  int64_t channels_ = 0;
  BlockSums sums_;
  std::vector<Thread> threads_;
};

}  // namespace insightface
