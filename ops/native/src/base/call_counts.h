// What every kernel needs around its arithmetic: proof that it ran, and vector code that does not depend on the machine
// that compiled it.
#pragma once

#include <cstdint>

// Compiles a function once per instruction set; the loader picks the one that fits the CPU, so a library that was
// built on one machine stays right on another. For leaf functions without OpenMP regions of their own.
// The levels of x86-64 are AVX2 and AVX-512 with what came with them, fused multiply-add above all; GCC before 12 knows
// only single features here.
#if defined(__x86_64__) && __GNUC__ >= 12
#define INSIGHTFACE_VECTORISED __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#elif defined(__x86_64__)
#define INSIGHTFACE_VECTORISED __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define INSIGHTFACE_VECTORISED
#endif

namespace insightface {

enum class Kernel {
  kConv,
  kConvDataGrad,
  kConvFilterGrad,
  kPrelu,
  kPreluGrad,
  kNormalization,
  kNormalizationGrad,
  kMatmul,
  kL2Normalize,
  kL2NormalizeGrad,
  kRowProducts,
  kRowProductsGrad,
  kBroadcastSub,
  kBroadcastDiv,
  kReduceMaxDeviceStage,
  kNetworkForward,
  kNetworkBackward,
  kNetworkInference,
  kCount,
};

// Counts a call that has ended.
void CountCall(Kernel kernel);

// Adds `count` values of `addend` to `sum`; the second on the calling thread alone.
void AddInto(float* sum, const float* addend, int64_t count);
void AddRange(float* sum, const float* addend, int64_t count);

}  // namespace insightface
