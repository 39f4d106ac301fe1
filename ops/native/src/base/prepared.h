// Arrays in the layout that a oneDNN primitive asks for.
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

namespace insightface {

// What vector instructions like best.
constexpr int64_t kAlignment = 64;

// The room of so many bytes, after which the next piece is aligned again.
inline int64_t Room(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Copies an array from one layout or number type to another.
class Reorder {
 public:
  Reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to);
  void Run(const void* from, void* to) const;
  // Whether anything changes on the way: what is equal can be read where it is.
  bool Needed() const { return from_ != to_; }
  int64_t Bytes() const { return static_cast<int64_t>(to_.get_size()); }

 private:
  dnnl::memory::desc from_, to_;
  dnnl::reorder reorder_;
};

// Memory of a layer's own, aligned for vector instructions.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes);
  char* data() const { return data_; }

 private:
  std::vector<char> bytes_;
  char* data_;
};

// A number that changes, but for one chance in 2^64, when any of the bytes does.
uint64_t Fingerprint(const void* bytes, int64_t count, uint64_t seed);

}  // namespace insightface
