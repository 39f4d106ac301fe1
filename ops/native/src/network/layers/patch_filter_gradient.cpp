#include "network/layers/patch_filter_gradient.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/arrays.h"
#include "base/parallel.h"
#include "network/arithmetic/pointwise_products.h"

namespace insightface {
namespace {

// The product of bfloat16 takes rows of whole vectors.
constexpr int64_t kVector = 32;
// The lines whose sums are added up by themselves, so that no sum gets so long that it loses digits.
constexpr int64_t kLines = 8;

int64_t Products(const Value& in, const ConvGeometry& geometry) {
  return geometry.kernel * geometry.kernel * in.shape.channels;
}

template<typename T>
const PointwiseProducts<T>& ProductsOf() {
  if constexpr (kTypeOf<T> == NumberType::kFloat32) {
    return kPointwiseProducts;
  } else {
    return HalfProducts();
  }
}

}  // namespace

bool PatchFilterGradient::Suits(const Value& in, const Value& out, const ConvGeometry& geometry,
                                const ConvArrays& arrays) {
  if (geometry.groups != 1 || arrays.bias >= 0 || Products(in, geometry) > kVector) { return false; }
  return in.type == NumberType::kFloat32 || (HasHalfProducts() && out.shape.channels % kPanelColumns == 0);
}

PatchFilterGradient::PatchFilterGradient(const Value& in, const Value& out, int64_t batch, const ConvGeometry& geometry)
    : in_(in.shape),
      out_(out.shape),
      type_(in.type),
      batch_(batch),
      geometry_(geometry),
      products_(Products(in, geometry)),
      width_(in.type == NumberType::kFloat32 ? products_ : kVector) {}

int64_t PatchFilterGradient::SumsBytes() const {
  return AlignedSize(width_ * out_.channels * static_cast<int64_t>(sizeof(float)));
}

int64_t PatchFilterGradient::PatchesBytes() const { return AlignedSize(out_.width * width_ * BytesOf(type_)); }

int64_t PatchFilterGradient::ThreadBytes() const {
  const int64_t product = type_ == NumberType::kFloat32 ? OuterScratchBytes<float>(width_, out_.channels)
                                                        : OuterScratchBytes<BFloat16>(width_, out_.channels);
  return 2 * SumsBytes() + PatchesBytes() + AlignedSize(product);
}

int64_t PatchFilterGradient::ScratchBytes() const { return omp_get_max_threads() * ThreadBytes(); }

void PatchFilterGradient::Run(const void* x, const void* dy, float* gradient, char* scratch) const {
  if (type_ == NumberType::kFloat32) {
    RunOf(static_cast<const float*>(x), static_cast<const float*>(dy), gradient, scratch);
  } else {
    RunOf(static_cast<const BFloat16*>(x), static_cast<const BFloat16*>(dy), gradient, scratch);
  }
}

template<typename T>
void PatchFilterGradient::RunOf(const T* x, const T* dy, float* gradient, char* scratch) const {
  std::vector<char> has_worked(omp_get_max_threads(), false);
  ParallelRows(batch_ * out_.height, [&](int64_t begin, int64_t end, int thread) {
    char* const memory = scratch + thread * ThreadBytes();
    has_worked[thread] = true;
    std::fill_n(memory, SumsBytes(), 0);
    for (int64_t first = begin; first < end; first += kLines) {
      AddLines(x, dy, first, std::min(end, first + kLines), memory);
    }
  });
  Reduce(has_worked, gradient, scratch);
}

// Adds the products of some lines to the thread's sums.
template<typename T>
void PatchFilterGradient::AddLines(const T* x, const T* dy, int64_t first, int64_t last, char* memory) const {
  float* const total = reinterpret_cast<float*>(memory);
  float* const sums = reinterpret_cast<float*>(memory + SumsBytes());
  T* const patches = reinterpret_cast<T*>(memory + 2 * SumsBytes());
  const int64_t count = width_ * out_.channels, line_count = out_.width * out_.channels;
  std::fill_n(sums, count, 0.0f);
  for (int64_t line = first; line < last; ++line) {
    Upcoming upcoming;
    if (line + 1 < last) { upcoming.Add(dy + (line + 1) * line_count, line_count * BytesOf(type_)); }
    CopyPatches(x, line, patches);
    ProductsOf<T>().AddOuter(patches, dy + line * line_count, out_.width, width_, out_.channels, sums,
                             memory + 2 * SumsBytes() + PatchesBytes(), &upcoming);
  }
  AddRange(total, sums, count);
}

// Copies the patch of each pixel of an output line: [width, width_], in the order [kernel, kernel, channels].
template<typename T>
void PatchFilterGradient::CopyPatches(const T* x, int64_t line, T* patches) const {
  const int64_t kernel = geometry_.kernel, channels = in_.channels;
  const int64_t image = line / out_.height, top = line % out_.height * geometry_.stride - geometry_.pad;
  std::fill_n(patches, out_.width * width_, T{});
  for (int64_t ky = 0; ky < kernel; ++ky) {
    const int64_t row = top + ky;
    if (row < 0 || row >= in_.height) { continue; }
    const T* const from = x + (image * in_.height + row) * in_.width * channels;
    for (int64_t pixel = 0; pixel < out_.width; ++pixel) {
      const int64_t left = pixel * geometry_.stride - geometry_.pad;
      const int64_t begin = std::max<int64_t>(left, 0), end = std::min(left + kernel, in_.width);
      T* const to = patches + pixel * width_ + (ky * kernel + begin - left) * channels;
      const T* const source = from + begin * channels;
      for (int64_t i = 0; i < (end - begin) * channels; ++i) { to[i] = source[i]; }
    }
  }
}

// Adds the threads' sums [patch, filters], always in the same order.
void PatchFilterGradient::Reduce(const std::vector<char>& has_worked, float* gradient, const char* scratch) const {
  const int64_t places = geometry_.kernel * geometry_.kernel, channels = in_.channels, filters = out_.channels;
  for (int64_t p = 0; p < products_; ++p) {
    for (int64_t f = 0; f < filters; ++f) {
      float sum = 0;
      for (size_t thread = 0; thread < has_worked.size(); ++thread) {
        const char* const memory = scratch + static_cast<int64_t>(thread) * ThreadBytes();
        if (has_worked[thread]) { sum += reinterpret_cast<const float*>(memory)[p * filters + f]; }
      }
      gradient[(f * channels + p % channels) * places + p / channels] = sum;
    }
  }
}

}  // namespace insightface
