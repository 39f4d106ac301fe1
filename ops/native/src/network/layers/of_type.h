// Makes layers that are templates of the number type.
#pragma once

#include <memory>

#include "network/layers/layer.h"

namespace insightface {

// Makes a LayerOf<float> or LayerOf<BFloat16>, according to `type`.
template<template<typename> class LayerOf, typename... Arguments>
std::unique_ptr<Layer> MakeOfType(NumberType type, const Arguments&... arguments) {
  if (type == NumberType::kFloat32) { return std::make_unique<LayerOf<float>>(arguments...); }
  return std::make_unique<LayerOf<BFloat16>>(arguments...);
}

}  // namespace insightface
