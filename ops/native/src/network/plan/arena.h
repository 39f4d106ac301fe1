// Places blocks of memory with known lifetimes into one piece, so that blocks never needed together share it.
//
//   Arena arena;
//   const int a = arena.Add(4096, 0, 2);  // bytes, first and last time of use
//   const int b = arena.Add(4096, 1, 3);
//   const int c = arena.Add(4096, 3, 4);  // may share memory with `a`, not with `b`
//   arena.Extend(a, 5);                   // now it may not
//   arena.Place();
//   AlignedBytes memory(arena.Bytes());
//   char* const start_of_c = memory.data() + arena.Offset(c);
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace insightface {

class Arena {
 public:
  // Adds a block that is needed from time `first` to time `last`, inclusive, and returns its number.
  int Add(int64_t bytes, int64_t first, int64_t last);
  // Extends the life of a block to include `time`.
  void Extend(int block, int64_t time);
  // The only time at which the block is needed; -1 if there are several.
  int64_t OnlyTime(int block) const { return blocks_[block].first == blocks_[block].last ? blocks_[block].first : -1; }
  void Resize(int block, int64_t bytes) { blocks_[block].bytes = bytes; }
  // Computes the offsets of the blocks. No block may be added afterwards.
  void Place();

  int64_t Offset(int block) const { return blocks_[block].offset; }
  int64_t Bytes() const { return bytes_; }

 private:
  struct Block {
    int64_t bytes;
    int64_t first;
    int64_t last;
    int64_t offset;
  };

  std::vector<size_t> OrderBy(const std::function<double(const Block&)>& rank) const;
  // Places the blocks one after the other, each as low as those before it allow; returns the bytes and the highest block.
  std::pair<int64_t, size_t> PlaceIn(const std::vector<size_t>& order);

  std::vector<Block> blocks_;
  int64_t bytes_ = 0;
};

}  // namespace insightface
