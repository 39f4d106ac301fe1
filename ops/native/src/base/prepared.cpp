#include "base/prepared.h"

#include <cstring>

#include "base/alignment.h"
#include "base/array_loops.h"
#include "base/onednn.h"
#include "base/parallel.h"

namespace insightface {
namespace {

constexpr int64_t kBlock = kHashLanes * 8;
// Bytes that one thread reads in the time that it takes to wake another.
constexpr int64_t kWorthWaking = 1 << 19;

}  // namespace

Reorder::Reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) : from_(from), to_(to) {
  if (Needed()) { reorder_ = dnnl::reorder({OneDnnEngine(), from_, OneDnnEngine(), to_}); }
}

void Reorder::Run(const void* from, void* to) const {
  if (!Needed()) {
    std::memcpy(to, from, Bytes());
    return;
  }
  dnnl::memory source = AsMemory(from_, from), target = AsMemory(to_, to);
  reorder_.execute(OneDnnStream(), source, target);
}

AlignedBytes::AlignedBytes(int64_t bytes) : bytes_(new char[bytes + kAlignment]), data_(AlignPointer(bytes_.get())) {}

uint64_t Fingerprint(const void* bytes, int64_t count, uint64_t seed) {
  const char* const start = static_cast<const char*>(bytes);
  const int64_t blocks = count / kBlock;
  // Not the seed: mixing a number with itself would erase it.
  std::vector<uint64_t> parts(omp_get_max_threads(), kHashPrime);
  const auto hash_part = [&](int64_t begin, int64_t end, int thread) {
    uint64_t lanes[kHashLanes];
    for (int64_t lane = 0; lane < kHashLanes; ++lane) { lanes[lane] = seed + static_cast<uint64_t>(lane); }
    kArrayLoops.HashBlocks(start + begin * kBlock, end - begin, lanes);
    for (const uint64_t lane : lanes) { parts[thread] = MixHash(parts[thread], lane); }
  };
  if (count < kWorthWaking) {
    hash_part(0, blocks, 0);
  } else {
    ParallelRows(blocks, hash_part);
  }
  uint64_t hash = seed;
  for (const uint64_t part : parts) { hash = MixHash(hash, part); }
  for (int64_t i = blocks * kBlock; i < count; ++i) { hash = MixHash(hash, static_cast<unsigned char>(start[i])); }
  return hash;
}

}  // namespace insightface
