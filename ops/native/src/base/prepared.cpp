#include "base/prepared.h"

#include <cstring>

#include "base/call_counts.h"
#include "base/onednn.h"
#include "base/parallel.h"

namespace insightface {
namespace {

constexpr int64_t kLanes = 8;
constexpr int64_t kBlock = kLanes * 8;
// Bytes that one thread has read before another one is awake.
constexpr int64_t kWorthWaking = 1 << 19;
constexpr uint64_t kPrime = 0x9e3779b97f4a7c15ULL;

uint64_t Mix(uint64_t hash, uint64_t number) {
  hash = (hash ^ number) * kPrime;
  return hash ^ (hash >> 29);
}

// Eight independent chains over whole blocks, which vector instructions can follow.
INSIGHTFACE_VECTORISED void HashBlocks(const char* bytes, int64_t blocks, uint64_t* lanes) {
  for (int64_t block = 0; block < blocks; ++block) {
    uint64_t numbers[kLanes];
    std::memcpy(numbers, bytes + block * kBlock, sizeof(numbers));
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const uint64_t hash = (lanes[lane] ^ numbers[lane]) * kPrime;
      lanes[lane] = hash ^ (hash >> 29);
    }
  }
}

}  // namespace

Reorder::Reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) : from_(from), to_(to) {
  if (Needed()) { reorder_ = dnnl::reorder({OneDnnEngine(), from_, OneDnnEngine(), to_}); }
}

void Reorder::Run(const void* from, void* to) const {
  if (!Needed()) {
    std::memcpy(to, from, Bytes());
    return;
  }
  dnnl::memory source = At(from_, from), target = At(to_, to);
  reorder_.execute(OneDnnStream(), source, target);
}

AlignedBytes::AlignedBytes(int64_t bytes) : bytes_(bytes + kAlignment) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(bytes_.data());
  data_ = bytes_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

uint64_t Fingerprint(const void* bytes, int64_t count, uint64_t seed) {
  const char* const start = static_cast<const char*>(bytes);
  const int64_t blocks = count / kBlock;
  // Not the seed: what is mixed with itself is forgotten.
  std::vector<uint64_t> parts(omp_get_max_threads(), kPrime);
  const auto hash_part = [&](int64_t begin, int64_t end, int thread) {
    uint64_t lanes[kLanes];
    for (int64_t lane = 0; lane < kLanes; ++lane) { lanes[lane] = seed + static_cast<uint64_t>(lane); }
    HashBlocks(start + begin * kBlock, end - begin, lanes);
    for (const uint64_t lane : lanes) { parts[thread] = Mix(parts[thread], lane); }
  };
  if (count < kWorthWaking) {
    hash_part(0, blocks, 0);
  } else {
    ParallelRows(blocks, hash_part);
  }
  uint64_t hash = seed;
  for (const uint64_t part : parts) { hash = Mix(hash, part); }
  for (int64_t i = blocks * kBlock; i < count; ++i) { hash = Mix(hash, static_cast<unsigned char>(start[i])); }
  return hash;
}

}  // namespace insightface
