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

void Updates::Apply(size_t parameter, const float* gradient, int64_t count, float* weight) {
  constexpr int64_t kBlock = 1 << 14;  // of fixed size, so that the sums do not depend on the number of threads
  const ParameterUpdate& update = parameters[parameter];
  if (update.momentum == nullptr || skipped != 0) { return; }
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(measures != 0 ? blocks : 0);
  ParallelRows(blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock, last = std::min(count, first + kBlock);
      if (measures != 0) {
        double sum = 0;
        for (int64_t i = first; i < last; ++i) { sum += static_cast<double>(gradient[i]) * gradient[i]; }
        sums[block] = sum;
      }
      kClassRowLoops.Update(gradient + first, last - first, update.rule, weight + first, update.momentum + first);
    }
  });
  for (const double sum : sums) { squares += sum; }
}

}  // namespace insightface
