// Arrays in the layout that a oneDNN primitive asks for, and a way to notice that one has changed.
#pragma once

#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

namespace insightface {

// Copies an array from one layout or number type to another.
class Reorder {
 public:
  Reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to);
  void Run(const void* from, void* to) const;
  // False if both layouts are equal: then the array can be read in place.
  bool Needed() const { return from_ != to_; }
  int64_t Bytes() const { return static_cast<int64_t>(to_.get_size()); }

 private:
  dnnl::memory::desc from_, to_;
  dnnl::reorder reorder_;
};

// Aligned memory that belongs to the object.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes);
  char* data() const { return data_; }

 private:
  std::unique_ptr<char[]> bytes_;  // not initialised, so that memory is taken where it is used
  char* data_;
};

// A hash of the bytes: if any of them changes, so does the hash, but for one chance in 2^64.
uint64_t Fingerprint(const void* bytes, int64_t count, uint64_t seed);

}  // namespace insightface
