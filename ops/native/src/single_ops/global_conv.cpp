#include "single_ops/global_conv.h"

#include <algorithm>
#include <vector>

namespace insightface {
namespace {

// All images of one channel; `gradient` has room for one filter.
void RunChannel(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors, int64_t channel,
                std::vector<double>* gradient) {
  const int64_t size = shape.in_h * shape.in_w;
  float* filter = tensors.filter + channel * size;
  std::fill(gradient->begin(), gradient->end(), 0.0);
  for (int64_t image = 0; image < shape.batch; ++image) {
    const int64_t plane = image * shape.groups + channel;
    float* input = tensors.input + plane * size;
    float* output = tensors.output + plane;
    if (pass == ConvPass::kForward) {
      double sum = tensors.bias != nullptr ? tensors.bias[channel] : 0.0;
      for (int64_t i = 0; i < size; ++i) { sum += static_cast<double>(input[i]) * filter[i]; }
      *output = static_cast<float>(sum);
    } else if (pass == ConvPass::kDataGrad) {
      for (int64_t i = 0; i < size; ++i) { input[i] = filter[i] * *output; }
    } else {
      for (int64_t i = 0; i < size; ++i) { (*gradient)[i] += static_cast<double>(input[i]) * *output; }
    }
  }
  if (pass == ConvPass::kFilterGrad) {
    std::transform(gradient->begin(), gradient->end(), filter, [](double value) { return static_cast<float>(value); });
  }
}

}  // namespace

bool IsGlobalDepthwise(const ConvShape& s) {
  const bool depthwise = s.groups == s.in_channels && s.groups == s.out_channels;
  return depthwise && s.kernel_h == s.in_h && s.kernel_w == s.in_w && s.out_h == 1 && s.out_w == 1 && s.pad_top == 0 &&
         s.pad_left == 0 && s.dilation_h == 1 && s.dilation_w == 1;
}

void RunGlobalDepthwise(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors) {
#pragma omp parallel
  {
    std::vector<double> gradient(shape.in_h * shape.in_w);
#pragma omp for schedule(static)
    for (int64_t channel = 0; channel < shape.groups; ++channel) {
      RunChannel(pass, shape, tensors, channel, &gradient);
    }
  }
}

}  // namespace insightface
