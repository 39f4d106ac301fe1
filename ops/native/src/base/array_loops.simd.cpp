#include "base/array_loops.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

template<typename T>
void Add(T* sum, const T* addend, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { Store(Load(sum[i]) + Load(addend[i]), sum + i); }
}

template<typename From, typename To>
void Convert(const From* from, To* to, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { Store(Load(from[i]), to + i); }
}

void HashBlocks(const char* bytes, int64_t blocks, uint64_t* lanes) {
  for (int64_t block = 0; block < blocks; ++block) {
    uint64_t numbers[kHashLanes];
    std::memcpy(numbers, bytes + block * static_cast<int64_t>(sizeof(numbers)), sizeof(numbers));
    for (int64_t lane = 0; lane < kHashLanes; ++lane) { lanes[lane] = MixHash(lanes[lane], numbers[lane]); }
  }
}

}  // namespace

const ArrayLoops kArrayLoops = {Add<float>, Add<BFloat16>, Convert<float, BFloat16>, Convert<BFloat16, float>,
                                HashBlocks};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
