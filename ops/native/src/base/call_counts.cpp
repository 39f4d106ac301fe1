#include "base/call_counts.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace insightface {
namespace {

constexpr size_t kKernels = static_cast<size_t>(Kernel::kCount);

// The names are those of OneFlow's ops, in the order of `Kernel`.
constexpr std::array<const char*, kKernels> kNames = {
    "conv2d",
    "conv_data_grad",
    "conv_filter_grad",
    "prelu",
    "prelu_grad",
    "normalization",
    "normalization_grad",
    "matmul",
    "l2_normalize",
    "l2_normalize_grad",
    "insightface_row_products",
    "insightface_row_products_grad",
    "broadcast_sub",
    "broadcast_div",
    "reduce_max_device_stage",
    "insightface_network_forward",
    "insightface_network_backward",
    "insightface_network_inference",
};

std::mutex calls_mutex;
std::condition_variable call_ended;
std::array<int64_t, kKernels> calls{};

// The index of the kernel of the OneFlow op `name`; kKernels if there is none.
size_t KernelIndex(const char* name) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const char* known) { return std::strcmp(name, known) == 0; }) -
         kNames.begin();
}

}  // namespace

void CountCall(Kernel kernel) {
  {
    const std::lock_guard<std::mutex> lock(calls_mutex);
    ++calls[static_cast<size_t>(kernel)];
  }
  call_ended.notify_all();
}

}  // namespace insightface

extern "C" {

// Returns how often the kernel of the OneFlow op `name` has run in this process; -1 for an op without a kernel here.
int64_t insightface_native_calls(const char* name) {
  const size_t kernel = insightface::KernelIndex(name);
  const std::lock_guard<std::mutex> lock(insightface::calls_mutex);
  return kernel < insightface::kKernels ? insightface::calls[kernel] : -1;
}

// Sleeps until the kernel of the op has run `count` times, but at most `milliseconds`. Returns whether it has.
int32_t insightface_wait_for_calls(const char* name, int64_t count, int64_t milliseconds) {
  const size_t kernel = insightface::KernelIndex(name);
  if (kernel == insightface::kKernels) { return 0; }
  std::unique_lock<std::mutex> lock(insightface::calls_mutex);
  return insightface::call_ended.wait_for(lock, std::chrono::milliseconds(milliseconds),
                                          [&] { return insightface::calls[kernel] >= count; });
}

}  // extern "C"
