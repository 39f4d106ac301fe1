// Products of many small bfloat16 matrices of one shape; results are float32.
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/number_types.h"

namespace insightface {

// The distance of consecutive matrices of `numbers` numbers of `number_bytes` bytes. Equal places of all matrices,
// which the transforms read and write together, must not fall into the same few sets of the caches: so the distance is
// a whole number of cache lines that leaves remainder 5 when divided by the sets of the first cache.
int64_t MatrixStep(int64_t numbers, int64_t number_bytes);

// c[g] = a[g]^T b[g] (+ c[g]) for `count` matrices g, divided among the threads of a team.
class MatrixProducts {
 public:
  // a[g] is [inner, rows], b[g] [inner, columns]. Consecutive matrices lie MatrixStep(numbers of one) apart.
  MatrixProducts(int64_t count, int64_t rows, int64_t inner, int64_t columns, bool adds);
  // Computes the calling thread's share; every thread of the team must call it.
  void RunShare(const BFloat16* a, const BFloat16* b, float* c, char* scratch) const;
  // The scratch memory of all threads together.
  int64_t ScratchBytes() const;

 private:
  const int64_t count_, threads_, group_;
  const int64_t a_step_, b_step_, c_step_;
  const dnnl::memory::desc a_, b_, c_;
  const dnnl::matmul::primitive_desc description_;
  const dnnl::matmul primitive_;
};

}  // namespace insightface
