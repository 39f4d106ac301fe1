// Sums over rows that arrive in blocks, which belong to parts: the blocks of a part arrive one after the other.
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
  // Calls add(sums), which adds the sums of a block to float32 zeros; `part` is the number of the block's part.
  template<typename Add>
  void AddBlock(int part, const Add& add) {
    Sums& own = parts_[part];
    own.block.assign(numbers_, 0.0f);
    if (own.total.empty()) { own.total.assign(numbers_, 0.0); }
    add(own.block.data());
    for (int64_t i = 0; i < numbers_; ++i) { own.total[i] += own.block[i]; }
  }
  // Empty for a part without blocks.
  const std::vector<double>& OfPart(int part) const { return parts_[part].total; }
  // The sums of all parts, added one part after the other.
  std::vector<double> Total() const;

 private:
  struct Sums {
    std::vector<float> block;
    std::vector<double> total;
  };
  int64_t numbers_ = 0;
  std::vector<Sums> parts_;
};

struct Moments {
  double mean, variance;
};

// Mean and variance of every channel. Distances are summed from the first row of each part, which keeps the variance of
// channels whose mean is far from zero.
class BlockMoments {
 public:
  void Reset(int64_t channels);
  void AddBlock(const float* x, int64_t rows, int part) { AddBlockOf(x, rows, part); }
  void AddBlock(const BFloat16* x, int64_t rows, int part) { AddBlockOf(x, rows, part); }
  Moments OfChannel(int64_t channel) const;

 private:
  struct Origin {
    int64_t rows = 0;
    std::vector<float> row;
  };

  template<typename T>
  void AddBlockOf(const T* x, int64_t rows, int part);
  // Calls visit(rows, origin, sum, sum of squares) of a channel for every part that has had rows.
  template<typename Visit>
  void ForParts(int64_t channel, const Visit& visit) const;

  int64_t channels_ = 0;
  BlockSums sums_;
  std::vector<Origin> origins_;
};

}  // namespace insightface
