// The first and the last layer of a network: images in, embeddings out.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// Writes (image - mean) * scale to a value.
std::unique_ptr<Layer> MakeImageLayer(int output, const Value& out, int64_t batch, float mean, float scale);

// Writes the last value, which has one pixel, as float32 embeddings.
std::unique_ptr<Layer> MakeEmbeddingLayer(int input, const Value& in, int64_t batch);

}  // namespace insightface
