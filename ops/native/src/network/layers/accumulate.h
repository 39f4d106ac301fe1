// Sums over rows for the gradients of parameters, and the gradients that a layer passes on unchanged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/arrays.h"
#include "base/parallel.h"
#include "network/layers/layer.h"

namespace insightface {

// Computes `numbers` sums over rows: add(begin, end, part) adds at most `rows_per_part` rows to float32 sums, which are
// then added in double, one thread after the other.
template<typename Add>
std::vector<double> SumRows(int64_t rows, int64_t numbers, int64_t rows_per_part, const Add& add) {
  std::vector<std::vector<double>> totals(omp_get_max_threads());
  ParallelRows(rows, [&](int64_t begin, int64_t end, int thread) {
    std::vector<double> total(numbers, 0.0);
    std::vector<float> part(numbers);
    for (int64_t row = begin; row < end; row += rows_per_part) {
      std::fill(part.begin(), part.end(), 0.0f);
      add(row, std::min(end, row + rows_per_part), part.data());
      for (int64_t i = 0; i < numbers; ++i) { total[i] += part[i]; }
    }
    totals[thread] = std::move(total);
  });
  std::vector<double> sums(numbers, 0.0);
  for (const std::vector<double>& total : totals) {
    for (size_t i = 0; i < total.size(); ++i) { sums[i] += total[i]; }
  }
  return sums;
}

// Passes the numbers from `begin` to `end` of the output's gradient `dy` to input number `input` of `layer`: writes
// them, adds them, or does nothing, as the input's GradientUse says. On the calling thread.
template<typename T>
void PassGradientRange(const ExecutionContext& context, const Layer& layer, size_t input, int64_t begin, int64_t end,
                       const T* dy) {
  const GradientUse& use = layer.uses[input];
  if (!use.wanted || use.shared || begin == end) { return; }
  T* const dx = context.GradientAt<T>(layer.inputs[input]);
  if (use.adds) {
    AddRange(dx + begin, dy + begin, end - begin);
  } else {
    std::copy(dy + begin, dy + end, dx + begin);
  }
}

// The whole gradient, by the team.
template<typename T>
void PassGradient(const ExecutionContext& context, const Layer& layer, size_t input, int64_t count, const T* dy) {
  ParallelRows(count,
               [&](int64_t begin, int64_t end, int) { PassGradientRange(context, layer, input, begin, end, dy); });
}

}  // namespace insightface
