#include "runtime.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace insightface {
namespace {

constexpr size_t kKernels = static_cast<size_t>(Kernel::kCount);

// The names are those of OneFlow's ops, in the order of `Kernel`.
constexpr std::array<const char*, kKernels> kNames = {
    "conv2d", "conv_data_grad", "conv_filter_grad", "prelu", "prelu_grad", "normalization", "normalization_grad",
};

std::array<std::atomic<int64_t>, kKernels> calls{};

int ReadThreadCount() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return wanted > 0 ? static_cast<int>(std::min(wanted, 1024L)) : omp_get_num_procs();
}

INSIGHTFACE_VECTORISED void AddRange(float* sum, const float* addend, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { sum[i] += addend[i]; }
}

}  // namespace

int ThreadCount() {
  static const int count = ReadThreadCount();
  return count;
}

void EnterKernel(Kernel kernel) {
  calls[static_cast<size_t>(kernel)].fetch_add(1, std::memory_order_relaxed);
  PrepareThread();
}

void PrepareThread() {
  if (omp_get_max_threads() != ThreadCount()) { omp_set_num_threads(ThreadCount()); }
}

void AddInto(float* sum, const float* addend, int64_t count) {
  constexpr int64_t kBlock = 16384;
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < count; start += kBlock) {
    AddRange(sum + start, addend + start, std::min(kBlock, count - start));
  }
}

}  // namespace insightface

// How often the kernel of the OneFlow op `name` has run in this process; -1 for an op that has none here.
extern "C" int64_t insightface_native_calls(const char* name) {
  for (size_t i = 0; i < insightface::kKernels; ++i) {
    if (std::strcmp(name, insightface::kNames[i]) == 0) { return insightface::calls[i].load(); }
  }
  return -1;
}
