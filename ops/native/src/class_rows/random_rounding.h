// Rounds float32 numbers to bfloat16 at random: up with the probability that makes the expected value the number itself.
// An update smaller than half a step of bfloat16, which rounding to nearest would lose, thus counts on average.
//
// The 16 random bits of a number are a function of seed, step, row, array and column alone: they are the same in a
// resumed run and on any number of ranks, in any order and for any instruction set.
//
//   key  = mix(mix(mix(mix(0, seed), step), row), array)                 splitmix64 (Steele et al., OOPSLA 2014)
//   bits = hash(column * 0x9e3779b9 + low half of key, high half) >> 16  lowbias32 (Wellons), with the high half added
#pragma once

#include <cstdint>
#include <cstring>

#include "base/number_types.h"

namespace insightface {

// What the random bits of a matrix depend on beside row and column.
struct RowDraws {
  uint64_t seed, step;
  int64_t first_row;  // number of the matrix's first row among those of all ranks
};

// The arrays of a row.
enum class RowArray : uint64_t { kWeight, kMomentum, kVariance };

INSIGHTFACE_INLINE uint64_t MixKey(uint64_t key, uint64_t number) {
  key = (key ^ number) + 0x9e3779b97f4a7c15ULL;
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ULL;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebULL;
  return key ^ (key >> 31);
}

// The key of row number `row` of a matrix.
INSIGHTFACE_INLINE uint64_t RowKey(const RowDraws& draws, int64_t row, RowArray array) {
  const uint64_t of_step = MixKey(MixKey(0, draws.seed), draws.step);
  return MixKey(MixKey(of_step, static_cast<uint64_t>(draws.first_row + row)), static_cast<uint64_t>(array));
}

INSIGHTFACE_INLINE uint32_t DrawBits(uint32_t low, uint32_t high, uint32_t column) {
  uint32_t hash = column * 0x9e3779b9U + low;
  hash = (hash ^ (hash >> 16)) * 0x7feb352dU + high;
  hash = (hash ^ (hash >> 15)) * 0x846ca68bU;
  return (hash ^ (hash >> 16)) >> 16;
}

// `draw` are 16 random bits. NaN stays NaN.
INSIGHTFACE_INLINE void StoreAtRandom(float number, uint32_t draw, BFloat16* target) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  const uint32_t rounded = (bits + draw) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;
  target->bits = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

}  // namespace insightface
