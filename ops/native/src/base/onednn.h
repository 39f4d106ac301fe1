// The process's oneDNN engine and the few helpers that every use of it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

namespace insightface {

dnnl::engine& OneDnnEngine();

// The calling thread's stream; primitives have finished when execute returns, as on every CPU engine.
dnnl::stream& OneDnnStream();

// Memory of the caller's with the layout `description`; a primitive that only reads it takes it all the same.
dnnl::memory At(const dnnl::memory::desc& description, const void* data);

// Of a primitive whose scratchpad the caller provides.
dnnl::primitive_attr CallersScratchpad();

// A convolution's filter gradient as described, or by oneDNN's next implementation where its first choice is wrong:
// with AVX2, strides and channels that fill no vectors of 8, the threads of oneDNN 3.2's 1x1 kernel overwrite each
// other's memory, and its results vary or it never ends.
dnnl::convolution_backward_weights::primitive_desc AvoidFaulty(
    dnnl::convolution_backward_weights::primitive_desc description);

// A product c = a b (+ c) that the calling thread computes by itself, with a scratchpad of the caller's, within a team
// whose other threads do likewise: oneDNN plans a primitive for the team that it finds when that is made.
dnnl::matmul::primitive_desc DescribeThreadMatmul(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                                  const dnnl::memory::desc& c, bool adds);
dnnl::matmul MakeThreadMatmul(const dnnl::matmul::primitive_desc& description);

// Deals out parts of one block of memory, each aligned for vector instructions.
class Workspace {
 public:
  // Uses `memory` when it holds `wanted` bytes, else a block of its own.
  Workspace(void* memory, size_t bytes, size_t wanted);
  void* Take(size_t bytes);
  // The room that Take(bytes) uses up.
  static size_t Room(size_t bytes);
  // Added once to the sum of all rooms: the block itself may start anywhere.
  static constexpr size_t kAlignment = 64;

 private:
  std::unique_ptr<char[]> own_;
  char* next_;
};

}  // namespace insightface
