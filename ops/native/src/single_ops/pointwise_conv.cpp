#include "single_ops/pointwise_conv.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/team.h"

namespace insightface {
namespace {

constexpr int64_t kFewestPixels = 128;

// c = a * b + beta * c in row-major order, a [m, k] and b [k, n] after the transpositions. On the team of the calling
// thread, or on that thread alone inside a parallel region. Returns whether oneDNN supports it.
bool Multiply(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
              float beta, float* c) {
  const int64_t a_pitch = transpose_a == 'T' ? m : k, b_pitch = transpose_b == 'T' ? k : n;
  return dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.0f, a, a_pitch, b, b_pitch, beta, c, n) == dnnl_success;
}

bool RunForward(const ConvShape& s, const ConvTensors& tensors, int64_t image) {
  const int64_t pixels = s.in_h * s.in_w;
  float* output = tensors.output + image * s.out_channels * pixels;
  if (tensors.bias != nullptr) {
    for (int64_t i = 0; i < s.out_channels; ++i) { std::fill_n(output + i * pixels, pixels, tensors.bias[i]); }
  }
  return Multiply('N', 'N', s.out_channels, pixels, s.in_channels, tensors.filter,
                  tensors.input + image * s.in_channels * pixels, tensors.bias != nullptr ? 1.0f : 0.0f, output);
}

bool RunDataGrad(const ConvShape& s, const ConvTensors& tensors, int64_t image) {
  const int64_t pixels = s.in_h * s.in_w;
  return Multiply('T', 'N', s.in_channels, pixels, s.out_channels, tensors.filter,
                  tensors.output + image * s.out_channels * pixels, 0.0f,
                  tensors.input + image * s.in_channels * pixels);
}

// The gradient of `count` filters from `first` on, summed over the images.
bool RunFilterGrad(const ConvShape& s, const ConvTensors& tensors, int64_t first, int64_t count) {
  const int64_t pixels = s.in_h * s.in_w;
  bool accepted = true;
  for (int64_t image = 0; image < s.batch; ++image) {
    accepted &=
        Multiply('N', 'T', count, s.in_channels, pixels, tensors.output + (image * s.out_channels + first) * pixels,
                 tensors.input + image * s.in_channels * pixels, image > 0 ? 1.0f : 0.0f,
                 tensors.filter + first * s.in_channels);
  }
  return accepted;
}

}  // namespace

bool IsPointwise(const ConvShape& s) {
  return s.groups == 1 && s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
         s.pad_left == 0 && s.out_h == s.in_h && s.out_w == s.in_w && s.in_h * s.in_w >= kFewestPixels;
}

void RunPointwise(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors) {
  const int64_t threads = ThreadCount();
  bool accepted = true;
  if (pass == ConvPass::kFilterGrad) {
    // Each thread computes a share of the filters over all images, so that the order of summation is fixed.
    const int64_t share = (shape.out_channels + threads - 1) / threads;
#pragma omp parallel for schedule(static) reduction(&& : accepted)
    for (int64_t first = 0; first < shape.out_channels; first += share) {
      accepted = RunFilterGrad(shape, tensors, first, std::min(share, shape.out_channels - first)) && accepted;
    }
  } else {
    // With fewer images than threads, each product uses the whole team instead.
#pragma omp parallel for schedule(static) reduction(&& : accepted) if (shape.batch >= threads)
    for (int64_t image = 0; image < shape.batch; ++image) {
      accepted =
          (pass == ConvPass::kForward ? RunForward(shape, tensors, image) : RunDataGrad(shape, tensors, image)) &&
          accepted;
    }
  }
  if (!accepted) { throw dnnl::error(dnnl_runtime_error, "matrix product failed"); }
}

}  // namespace insightface
