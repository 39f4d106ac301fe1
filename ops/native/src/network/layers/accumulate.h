// Sums that every layer with parameters needs, and the hand-over of gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/call_counts.h"
#include "base/parallel.h"
#include "network/layers/layer.h"

namespace insightface {

// Adds up `numbers` sums over rows: add(begin, end, part) adds the rows to float32 sums, at most `rows_per_part` at a
// time; these are added up in double, thread after thread.
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

// sum += addend
void AddInto(BFloat16* sum, const BFloat16* addend, int64_t count);

// Between the number types.
void Convert(const float* from, BFloat16* to, int64_t count);
void Convert(const BFloat16* from, float* to, int64_t count);
void Convert(const float* from, float* to, int64_t count);
void Convert(const BFloat16* from, BFloat16* to, int64_t count);

// The same on the calling thread alone.
void AddRange(BFloat16* sum, const BFloat16* addend, int64_t count);

// Gives input number `input` of `layer` the numbers from `begin` to `end` of the output's gradient `dy`, as its use
// demands; the calling thread does it.
template<typename T>
void PassGradientRange(const Run& run, const Layer& layer, size_t input, int64_t begin, int64_t end, const T* dy) {
  const GradientUse& use = layer.uses[input];
  if (!use.wanted || use.shared || begin == end) { return; }
  T* const dx = run.GradientAt<T>(layer.inputs[input]);
  if (use.adds) {
    AddRange(dx + begin, dy + begin, end - begin);
  } else {
    std::copy(dy + begin, dy + end, dx + begin);
  }
}

template<typename T>
void PassGradient(const Run& run, const Layer& layer, size_t input, int64_t count, const T* dy) {
  ParallelRows(count, [&](int64_t begin, int64_t end, int) { PassGradientRange(run, layer, input, begin, end, dy); });
}

}  // namespace insightface
