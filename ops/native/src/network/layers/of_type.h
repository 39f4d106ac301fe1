// Layers that are written once for both number types.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// Makes a LayerOf<float> or LayerOf<BFloat16>, as `type` demands.
template<template<typename> class LayerOf, typename... Arguments>
std::unique_ptr<Layer> MakeOfType(NumberType type, const Arguments&... arguments) {
  if (type == NumberType::kFloat32) { return std::make_unique<LayerOf<float>>(arguments...); }
  return std::make_unique<LayerOf<BFloat16>>(arguments...);
}

}  // namespace insightface
