// The process's oneDNN engine, and helpers for its primitives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/number_types.h"

#include "base/alignment.h"

namespace insightface {

inline dnnl::memory::data_type OneDnnType(NumberType type) {
  return type == NumberType::kFloat32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::engine& OneDnnEngine();

// The calling thread's stream; primitives have finished when execute returns, as on every CPU engine.
dnnl::stream& OneDnnStream();

// The caller's memory `data` as an argument of a primitive, which may be declared to read it only.
dnnl::memory AsMemory(const dnnl::memory::desc& description, const void* data);

// Attributes of a primitive whose scratchpad the caller provides.
dnnl::primitive_attr CallersScratchpad();

// The description itself, or oneDNN's next implementation where its first choice is faulty: on AVX2, with strides and a
// channel count that is not a multiple of 8, the threads of oneDNN 3.2's 1x1 kernel overwrite each other's memory, so
// that results vary or the kernel never returns.
dnnl::convolution_backward_weights::primitive_desc SkipFaultyImplementation(
    dnnl::convolution_backward_weights::primitive_desc description);

// The product c = a b (+ c) for a thread that computes it alone, with a scratchpad of the caller, within a team whose
// other threads compute their own: oneDNN plans a primitive for the team size at the time it is made.
dnnl::matmul::primitive_desc DescribeThreadMatmul(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                                  const dnnl::memory::desc& c, bool adds);
dnnl::matmul MakeThreadMatmul(const dnnl::matmul::primitive_desc& description);

// Divides one block of memory into aligned parts.
class Workspace {
 public:
  // Uses `memory` if it holds `wanted` bytes, else allocates a block. `wanted` is the sum of the parts' AlignedSize,
  // plus kAlignment, as the block may start anywhere.
  Workspace(void* memory, size_t bytes, size_t wanted);
  void* Allocate(size_t bytes);

 private:
  std::unique_ptr<char[]> own_;
  char* next_;
};

}  // namespace insightface
