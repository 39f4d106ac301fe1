#include "onednn.h"

namespace insightface {

dnnl::engine& OneDnnEngine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& OneDnnStream() {
  static thread_local dnnl::stream stream(OneDnnEngine());
  return stream;
}

dnnl::memory At(const dnnl::memory::desc& description, const void* data) {
  return {description, OneDnnEngine(), const_cast<void*>(data)};
}

dnnl::primitive_attr CallersScratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

Workspace::Workspace(void* memory, size_t bytes, size_t wanted) {
  if (bytes < wanted) {
    own_.reset(new char[wanted]);
    memory = own_.get();
  }
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  next_ = reinterpret_cast<char*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

void* Workspace::Take(size_t bytes) {
  void* part = next_;
  next_ += Room(bytes);
  return part;
}

size_t Workspace::Room(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace insightface
