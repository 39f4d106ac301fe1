// Two-dimensional convolution, channels last, by oneDNN or Winograd's filtering; in inference with the layers that
// follow it folded in.
#pragma once

#include <memory>
#include <vector>

#include "network/layers/batch_norm_layer.h"
#include "network/layers/layer.h"

namespace insightface {

struct ConvGeometry {
  int64_t kernel;
  int64_t stride;
  int64_t pad;
  int64_t groups;
};

struct ConvArrays {
  int weight;  // [filters, channels / groups, kernel, kernel]
  int bias;    // -1 for none
};

// The layers that inference folds into the convolution: a batch normalisation becomes part of weights and bias; a PReLU
// or the addition of another value (the layer's second input) is applied while the result is in registers.
struct ConvEpilogue {
  bool has_batch_norm = false;
  BatchNormArrays batch_norm{-1, -1, -1, -1, -1};
  float epsilon = 0;
  int slope = -1;
};

// Throws dnnl::error if oneDNN does not support the convolution.
std::unique_ptr<Layer> MakeTrainingConv(int input, int output, const Value& in, const Value& out, int64_t batch,
                                        const ConvGeometry& geometry, const ConvArrays& arrays);
std::unique_ptr<Layer> MakeInferenceConv(const std::vector<int>& inputs, int output, const Value& in, const Value& out,
                                         int64_t batch, const ConvGeometry& geometry, const ConvArrays& arrays,
                                         const ConvEpilogue& epilogue);

}  // namespace insightface
