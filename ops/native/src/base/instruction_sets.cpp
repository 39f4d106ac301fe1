#include "base/instruction_sets.h"

namespace insightface {
namespace {

bool RoundsToBFloat16() {
#ifdef __x86_64__
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

const bool kRoundsToBFloat16 = RoundsToBFloat16();

InstructionSet SupportedInstructionSet() {
#ifdef __x86_64__
  // The features that LEVELS in build.py names.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) { return InstructionSet::kBaseline; }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  return avx512 ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
#else
  return InstructionSet::kBaseline;
#endif
}

}  // namespace insightface
