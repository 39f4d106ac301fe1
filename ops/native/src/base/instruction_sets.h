// Loops compiled for several instruction sets. Each file NAME.simd.cpp is compiled once per level (LEVELS in build.py)
// into a namespace named after the level, where it defines a table of its functions. The header beside it declares that
// table with INSIGHTFACE_LOOPS(Table, name); all other code calls through `name`, the table of the best level that the
// processor supports. A library built on one machine therefore runs on another.
//
// A .simd.cpp file defines no function that the linker may merge across levels: one std::max compiled for AVX-512 must
// not end up in the code for older processors. A test looks for such functions.
#pragma once

namespace insightface {

// Whether one instruction rounds a vector of AVX-512 to bfloat16.
extern const bool kRoundsToBFloat16;

}  // namespace insightface

#ifdef INSIGHTFACE_LEVEL  // inside a .simd.cpp file

#define INSIGHTFACE_LOOPS(Table, name) \
  namespace INSIGHTFACE_LEVEL {        \
  extern const Table name;             \
  }

#else

namespace insightface {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The best level that this processor supports.
InstructionSet SupportedInstructionSet();

}  // namespace insightface

#ifdef __x86_64__

namespace insightface {

template<typename Table>
const Table& PickLevel(const Table& baseline, const Table& avx2, const Table& avx512) {
  switch (SupportedInstructionSet()) {
    case InstructionSet::kAvx512: return avx512;
    case InstructionSet::kAvx2: return avx2;
    default: return baseline;
  }
}

}  // namespace insightface

#define INSIGHTFACE_LOOPS(Table, name) \
  namespace baseline {                 \
  extern const Table name;             \
  }                                    \
  namespace avx2 {                     \
  extern const Table name;             \
  }                                    \
  namespace avx512 {                   \
  extern const Table name;             \
  }                                    \
  inline const Table& name = PickLevel(baseline::name, avx2::name, avx512::name);

#else

#define INSIGHTFACE_LOOPS(Table, name) \
  namespace baseline {                 \
  extern const Table name;             \
  }                                    \
  inline const Table& name = baseline::name;

#endif
#endif
