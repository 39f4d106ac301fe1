// Feature maps between the layers of a network.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

// Shape of one image's part of a value; a flat value of n numbers is n x 1 x 1.
struct ValueShape {
  int64_t channels;
  int64_t height;
  int64_t width;

  int64_t Pixels() const { return height * width; }
  int64_t Count() const { return channels * height * width; }
};

// A value between layers, kept as [batch, height, width, channels].
struct Value {
  ValueShape shape;
  NumberType type;
};

}  // namespace insightface
