#include "base/onednn.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "base/alignment.h"

namespace insightface {
namespace {

// Sets the team size of the calling thread to one for the life of the object.
class SingleThread {
 public:
  SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  const int before_;
};

}  // namespace

dnnl::engine& OneDnnEngine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& OneDnnStream() {
  static thread_local dnnl::stream stream(OneDnnEngine());
  return stream;
}

dnnl::memory AsMemory(const dnnl::memory::desc& description, const void* data) {
  return {description, OneDnnEngine(), const_cast<void*>(data)};
}

dnnl::primitive_attr CallersScratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

dnnl::convolution_backward_weights::primitive_desc SkipFaultyImplementation(
    dnnl::convolution_backward_weights::primitive_desc description) {
  constexpr int64_t kVector = 8;
  const dnnl::memory::dims strides = description.get_strides();
  const bool strided = std::any_of(strides.begin(), strides.end(), [](int64_t stride) { return stride > 1; });
  if (strided && description.src_desc().get_dims()[1] % kVector != 0 &&
      std::strcmp(description.impl_info_str(), "jit_1x1:avx2") == 0) {
    description.next_impl();
  }
  return description;
}

dnnl::matmul::primitive_desc DescribeThreadMatmul(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                                  const dnnl::memory::desc& c, bool adds) {
  const SingleThread single;
  dnnl::primitive_attr attributes = CallersScratchpad();
  dnnl::post_ops operations;
  if (adds) { operations.append_sum(); }
  attributes.set_post_ops(operations);
  return {OneDnnEngine(), a, b, c, attributes};
}

dnnl::matmul MakeThreadMatmul(const dnnl::matmul::primitive_desc& description) {
  const SingleThread single;
  return dnnl::matmul(description);
}

Workspace::Workspace(void* memory, size_t bytes, size_t wanted) {
  if (bytes < wanted) {
    own_.reset(new char[wanted]);
    memory = own_.get();
  }
  next_ = AlignPointer(memory);
}

void* Workspace::Allocate(size_t bytes) {
  void* part = next_;
  next_ += AlignedSize(static_cast<int64_t>(bytes));
  return part;
}

}  // namespace insightface
