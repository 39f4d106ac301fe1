// The gradient of the filters of a convolution of few channels, such as the first one of a network, of three colours: a
// product of the output's gradient with patches of the input. oneDNN 2023.2 vectorises over channels, which are missing
// here; in bfloat16 it takes as long as for a hundred channels.
#pragma once

#include <cstdint>
#include <vector>

#include "network/layers/conv_layer.h"

namespace insightface {

class PatchFilterGradient {
 public:
  // Whether this convolution is one of them, and there are products for it here.
  static bool Suits(const Value& in, const Value& out, const ConvGeometry& geometry, const ConvArrays& arrays);

  PatchFilterGradient(const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry);

  // Writes gradient [filters, channels, kernel, kernel].
  void Run(const void* x, const void* dy, float* gradient, char* scratch) const;
  int64_t ScratchBytes() const;

 private:
  template<typename T>
  void RunOf(const T* x, const T* dy, float* gradient, char* scratch) const;
  template<typename T>
  void CopyPatches(const T* x, int64_t line, T* patches) const;
  template<typename T>
  void AddLines(const T* x, const T* dy, int64_t first, int64_t last, char* memory) const;
  void Reduce(const std::vector<char>& has_worked, float* gradient, const char* scratch) const;

  // A thread's memory: its sums, those of a few lines, the patches of a line, scratch memory of the product.
  int64_t SumsBytes() const;
  int64_t PatchesBytes() const;
  int64_t ThreadBytes() const;

  const ValueShape in_, out_;
  const NumberType type_;
  const int64_t batch_;
  const ConvGeometry geometry_;
  const int64_t products_, width_;  // the numbers of a patch; with zeros behind them
};

}  // namespace insightface
