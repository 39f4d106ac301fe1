// Parametric ReLU (He et al., Delving Deep into Rectifiers, 2015) on dense float32 tensors [batch, channels, inner].
#pragma once

#include <cstdint>

namespace insightface {

struct PreluShape {
  int64_t planes;  // batch * channels
  int64_t inner;   // values of one channel of one image
  int64_t slopes;  // 1, or the number of channels
};

// y = x where x > 0, else slope * x.
void Prelu(const PreluShape& shape, const float* x, const float* slope, float* y);

// dx = dy where x > 0, else slope * dy. slope_grad, the sum of dy * x where x <= 0, may be null.
void PreluGrad(const PreluShape& shape, const float* x, const float* slope, const float* dy, float* dx,
               float* slope_grad);

}  // namespace insightface
