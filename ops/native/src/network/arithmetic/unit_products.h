// Products of many small bfloat16 matrices by the processor's matrix unit, summed over the rows of both factors, as the
// gradients of filters are.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

// c[g] = a[g]^T b[g] (+ c[g]) for `count` matrices g, divided among the threads of a team; results are float32.
class UnitProducts {
 public:
  // Whether this processor can multiply matrices of these widths.
  static bool Suits(int64_t rows, int64_t columns);

  // a[g] is [inner, rows], b[g] [inner, columns]. Consecutive matrices lie MatrixStep(numbers of one) apart.
  UnitProducts(int64_t count, int64_t rows, int64_t inner, int64_t columns);
  // Computes the calling thread's share; every thread of the team must call it.
  void RunShare(const BFloat16* a, const BFloat16* b, bool adds, float* c, char* scratch) const;
  // The scratch memory of all threads together.
  int64_t ScratchBytes() const;

 private:
  int64_t WholeRows() const;
  int64_t ThreadBytes() const;

  const int64_t count_, rows_, inner_, columns_, threads_;
  const int64_t a_step_, b_step_, c_step_;
};

}  // namespace insightface
