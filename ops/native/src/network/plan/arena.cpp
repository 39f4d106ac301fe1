#include "network/plan/arena.h"

#include <algorithm>
#include <numeric>

#include "base/alignment.h"
#include "base/prepared.h"

namespace insightface {

int Arena::Add(int64_t bytes, int64_t first, int64_t last) {
  blocks_.push_back({AlignedSize(bytes), first, last, 0});
  return static_cast<int>(blocks_.size()) - 1;
}

void Arena::Extend(int block, int64_t time) {
  blocks_[block].first = std::min(blocks_[block].first, time);
  blocks_[block].last = std::max(blocks_[block].last, time);
}

void Arena::Place() {
  std::vector<size_t> order(blocks_.size());
  std::iota(order.begin(), order.end(), 0);
  // Largest first: small blocks fit into gaps more easily.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks_[a].bytes > blocks_[b].bytes; });
  std::vector<const Block*> placed;  // sorted by offset
  for (const size_t number : order) {
    Block& block = blocks_[number];
    block.offset = 0;
    for (const Block* other : placed) {
      if (other->last < block.first || block.last < other->first) { continue; }
      if (block.offset + block.bytes <= other->offset) { break; }
      block.offset = std::max(block.offset, other->offset + other->bytes);
    }
    bytes_ = std::max(bytes_, block.offset + block.bytes);
    const auto by_offset = [](const Block* a, const Block* b) { return a->offset < b->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &block, by_offset), &block);
  }
}

}  // namespace insightface
