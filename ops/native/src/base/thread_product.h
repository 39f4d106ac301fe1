// A product of two float32 matrices that one thread of a team computes alone, many times with the same shape.
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/prepared.h"

namespace insightface {

// Whether the second factor changes, and how it lies in memory.
enum class SecondFactor {
  kChanges,          // [inner, columns], different in each run
  kFixedTransposed,  // [columns, inner], prepared once for many runs
  kFixed,            // [inner, columns], prepared once for many runs
};

// How the first factor lies in memory.
enum class FirstFactor {
  kPlain,       // [rows, inner]
  kTransposed,  // [inner, rows]
};

// c [rows, columns] = a [rows, inner] b, or c + a b if it `adds`.
class ThreadProduct {
 public:
  ThreadProduct(int64_t rows, int64_t inner, int64_t columns, SecondFactor kind, bool adds,
                FirstFactor first = FirstFactor::kPlain);
  // Converts a fixed second factor to the layout that `Run` expects.
  Reorder Preparation() const { return {given_b_, description_.weights_desc()}; }
  AlignedBytes Prepare(const float* b) const;
  void Run(const float* a, const void* b, float* c, void* scratch) const;
  int64_t ScratchBytes() const;

 private:
  const dnnl::memory::desc a_, given_b_, c_;
  const dnnl::matmul::primitive_desc description_;
  const dnnl::matmul primitive_;
};

}  // namespace insightface
