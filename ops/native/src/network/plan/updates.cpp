#include "network/plan/updates.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"

namespace insightface {

void Updates::Begin(const float* embedding_gradients, int64_t count) {
  squares = 0;
  skipped = !std::all_of(embedding_gradients, embedding_gradients + count, [](float dy) { return std::isfinite(dy); });
}

void Updates::Apply(int parameter, int64_t first, int64_t count, const float* gradient, float* weight) {
  constexpr int64_t kBlock = 1 << 14;  // of fixed size, so that the sums do not depend on the number of threads
  const ParameterUpdate& update = parameters[parameter];
  if (update.momentum == nullptr || skipped != 0) { return; }
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  float* const weights = weight + first;
  float* const moments = update.momentum + first;
  std::vector<double> sums(measures != 0 ? blocks : 0);
  ParallelRows(blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t start = block * kBlock, last = std::min(count, start + kBlock);
      if (measures != 0) {
        double sum = 0;
        for (int64_t i = start; i < last; ++i) { sum += static_cast<double>(gradient[i]) * gradient[i]; }
        sums[block] = sum;
      }
      kClassRowLoops.Update(gradient + start, last - start, update.rule, weights + start, moments + start);
    }
  });
  for (const double sum : sums) { squares += sum; }
}

}  // namespace insightface
