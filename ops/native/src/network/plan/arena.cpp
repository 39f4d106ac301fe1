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

std::vector<size_t> Arena::OrderBy(const std::function<double(const Block&)>& rank) const {
  std::vector<size_t> order(blocks_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rank(blocks_[a]) > rank(blocks_[b]); });
  return order;
}

std::pair<int64_t, size_t> Arena::PlaceIn(const std::vector<size_t>& order) {
  std::vector<const Block*> placed;  // sorted by offset
  int64_t bytes = 0;
  size_t highest = 0;
  for (const size_t number : order) {
    Block& block = blocks_[number];
    block.offset = 0;
    for (const Block* other : placed) {
      if (other->last < block.first || block.last < other->first) { continue; }
      if (block.offset + block.bytes <= other->offset) { break; }
      block.offset = std::max(block.offset, other->offset + other->bytes);
    }
    if (block.offset + block.bytes > bytes) {
      bytes = block.offset + block.bytes;
      highest = number;
    }
    const auto by_offset = [](const Block* a, const Block* b) { return a->offset < b->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &block, by_offset), &block);
  }
  return {bytes, highest};
}

// No order is best for all networks: from each of a few, the block that ends highest moves to the front as long as that
// helps, and the smallest result counts.
void Arena::Place() {
  constexpr int kMoves = 60, kPatience = 12;
  const auto size = [](const Block& b) { return static_cast<double>(b.bytes); };
  const auto duration = [](const Block& b) { return static_cast<double>(b.last - b.first); };
  const std::vector<std::vector<size_t>> orders = {
      OrderBy(size), OrderBy(duration), OrderBy([&](const Block& b) { return size(b) * (1 + duration(b)); })};
  std::vector<size_t> best;
  for (std::vector<size_t> order : orders) {
    for (int move = 0, idle = 0; move < kMoves && idle < kPatience; ++move, ++idle) {
      const auto [bytes, highest] = PlaceIn(order);
      if (best.empty() || bytes < bytes_) {
        bytes_ = bytes;
        best = order;
        idle = 0;
      }
      const auto place = std::find(order.begin(), order.end(), highest);
      if (place != order.end()) { std::rotate(order.begin(), place, place + 1); }
    }
  }
  bytes_ = PlaceIn(best).first;
}

}  // namespace insightface
