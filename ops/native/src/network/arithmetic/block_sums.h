// Sums over rows that come block by block, dealt out to threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/number_types.h"

namespace insightface {

// Float32 within a block, double over all of them.
class BlockSums {
 public:
  // Starts anew, with `numbers` sums of zero.
  void Reset(int64_t numbers);
  // Calls add(part), which adds the sums of a block to float32 zeros, on the thread's behalf.
  template<typename Add>
  void AddBlock(int thread, const Add& add) {
    Thread& own = threads_[thread];
    std::fill(own.part.begin(), own.part.end(), 0.0f);
    add(own.part.data());
    for (size_t i = 0; i < own.part.size(); ++i) { own.total[i] += own.part[i]; }
  }
  const std::vector<double>& OfThread(int thread) const { return threads_[thread].total; }
  // Over all threads, one after the other.
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

// Mean and variance of every channel. Distances from the first row that a thread meets keep the variance of channels
// whose mean is far from zero.
class BlockMoments {
 public:
  void Reset(int64_t channels);
  void AddBlock(const float* x, int64_t rows, int thread) { AddBlockOf(x, rows, thread); }
  void AddBlock(const BFloat16* x, int64_t rows, int thread) { AddBlockOf(x, rows, thread); }
  Moments Find(int64_t channel) const;

 private:
  struct Thread {
    int64_t rows = 0;
    std::vector<float> origin;
  };

  template<typename T>
  void AddBlockOf(const T* x, int64_t rows, int thread);
  // Calls meet(rows, origin, sum, sum of squares) of a channel for the threads that have had rows.
  template<typename Meet>
  void ForThreads(int64_t channel, const Meet& meet) const;

  int64_t channels_ = 0;
  BlockSums sums_;
  std::vector<Thread> threads_;
};

}  // namespace insightface
