#include "base/sum_of_squares.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/team.h"

namespace insightface {
namespace {

struct Block {
  const float* numbers;
  int64_t count;
};

}  // namespace
}  // namespace insightface

// Called by ops/native/network.py: the sum of the squares of all arrays together.
extern "C" double insightface_sum_squares(const float* const* arrays, const int64_t* counts, int64_t number) {
  using namespace insightface;
  std::vector<Block> blocks;
  for (int64_t i = 0; i < number; ++i) {
    for (int64_t first = 0; first < counts[i]; first += kSquaresBlock) {
      blocks.push_back({arrays[i] + first, std::min(kSquaresBlock, counts[i] - first)});
    }
  }
  std::vector<double> sums(blocks.size());
  OnTeam([&] {
    ParallelRows(static_cast<int64_t>(blocks.size()), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) { sums[i] = SumSquares(blocks[i].numbers, blocks[i].count); }
    });
  });
  double sum = 0;
  for (const double block : sums) { sum += block; }
  return sum;
}
