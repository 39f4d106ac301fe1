// Layers without arrays of their own (but PReLU's slopes): the two ends of a network and what lies pointwise between.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "network/layer.h"

namespace insightface {

// (image - mean) * scale, to a value.
std::unique_ptr<Layer> MakeImageLayer(int output, const Value& out, int64_t batch, float mean, float scale);

// The last value, which has one pixel, as float32 embeddings.
std::unique_ptr<Layer> MakeEmbeddingLayer(int input, const Value& in, int64_t batch);

std::unique_ptr<Layer> MakeAddLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch);

// One slope per channel where x <= 0 (He et al., 2015).
std::unique_ptr<Layer> MakePreluLayer(int input, int output, const Value& value, int64_t batch, int slope);

// Keeps the values whose number, channel after channel and from `first` on, has a 1 in the keep mask, times
// 1 / (1 - drop); outside training it keeps all as they are.
std::unique_ptr<Layer> MakeDropoutLayer(int input, int output, const Value& value, int64_t batch, int64_t first,
                                        float drop, bool training);

// relu, sigmoid or tanh; null for another name.
std::unique_ptr<Layer> MakeActivationLayer(const std::string& name, int input, int output, const Value& value,
                                           int64_t batch);

}  // namespace insightface
