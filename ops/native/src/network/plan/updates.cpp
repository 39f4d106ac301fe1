#include "network/plan/updates.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "base/sum_of_squares.h"

namespace insightface {

void Updates::Begin(const float* embedding_gradients, int64_t count) {
  squares = 0;
  skipped = !std::all_of(embedding_gradients, embedding_gradients + count, [](float dy) { return std::isfinite(dy); });
}

void Updates::Apply(int parameter, int64_t first, int64_t count, const float* gradient, float* weight) {
  const ParameterUpdate& update = parameters[parameter];
  if (update.momentum == nullptr || skipped != 0) { return; }
  const int64_t blocks = (count + kSquaresBlock - 1) / kSquaresBlock;
  float* const weights = weight + first;
  float* const moments = update.momentum + first;
  std::vector<double> sums(measures != 0 ? blocks : 0);
  ParallelRows(blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t start = block * kSquaresBlock, last = std::min(count, start + kSquaresBlock);
      if (measures != 0) { sums[block] = SumSquares(gradient + start, last - start); }
      kClassRowLoops.Update(gradient + start, last - start, update.rule, weights + start, moments + start);
    }
  });
  for (const double sum : sums) { squares += sum; }
}

}  // namespace insightface
