// Sums of squares in float64, the same for any number of threads and every instruction set.
#pragma once

#include <cstdint>

namespace insightface {

constexpr int64_t kSquaresBlock = 1 << 14;  // numbers that are summed before their sum is added to the others

// The sum of the squares of at most a block, on the calling thread.
inline double SumSquares(const float* numbers, int64_t count) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double number = numbers[i + lane];
      sums[lane] += number * number;
    }
  }
  double sum = 0;
  for (const double lane : sums) { sum += lane; }
  for (; i < count; ++i) { sum += static_cast<double>(numbers[i]) * numbers[i]; }
  return sum;
}

}  // namespace insightface
