// Convolutions of 3x3 filters, stride 1, on channels-last maps by Winograd's filtering: F(4x4, 3x3) of float32 maps,
// F(2x2, 3x3) of bfloat16 maps, the latter in AVX-512 registers. Each thread takes blocks of tiles through both transforms and the
// products between them while they are in its second level cache.
#pragma once

#include <cstdint>

#include "network/arithmetic/tile_blocks.h"
#include "network/arithmetic/winograd.h"

namespace insightface {

// Operations on the result of a convolution; a null pointer omits the operation.
template<typename T>
struct FusedEpilogue {
  const float* bias;
  const float* slope;
  const T* addend;  // a batch of maps like the result; may be the result's memory
};

template<typename T>
class FusedWinograd {
 public:
  // Whether this processor can compute it, and faster than in other ways.
  static bool Suits(const WinogradShape& shape);

  explicit FusedWinograd(const WinogradShape& shape);
  // `weights` is [filters, channels, 3, 3] of the convolution, or, `reversed`, of the one whose input's gradient this
  // convolution computes.
  void TransformFilters(const float* weights, bool reversed, char* matrices) const;
  int64_t MatricesBytes() const { return MatricesBytes(shape_.out.channels); }
  void Run(const T* x, const char* filters, const FusedEpilogue<T>& epilogue, T* y, char* scratch) const;
  int64_t ScratchBytes() const;
  // Both, as many filters at a time as fit a limited memory.
  void RunOnWeights(const float* weights, bool reversed, const T* x, const FusedEpilogue<T>& epilogue, T* y,
                    char* scratch) const;
  int64_t ScratchBytesOnWeights() const { return MatricesBytes(ColumnsAtATime()) + ScratchBytes(); }

 private:
  // Consecutive filters.
  struct Columns {
    int64_t first, last;
  };

  int64_t MatricesBytes(int64_t columns) const;
  int64_t ColumnsAtATime() const;
  void TransformFilters(const float* weights, bool reversed, Columns columns, char* matrices) const;
  void Run(const T* x, const char* filters, Columns columns, const FusedEpilogue<T>& epilogue, T* y,
           char* scratch) const;

  const WinogradShape shape_;
  const TileGrid grid_;
  const int64_t block_;  // tiles, at most
  const int64_t threads_;
  const int64_t filters_step_, maps_step_, products_step_;  // numbers between consecutive matrices
};

}  // namespace insightface
