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
