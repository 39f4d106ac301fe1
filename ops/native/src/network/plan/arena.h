// Places blocks of memory with known lifetimes into one piece, so that blocks never needed together share room.
#pragma once

#include <cstdint>
#include <vector>

namespace insightface {

class Arena {
 public:
  // Adds a block that is needed from time `first` to time `last`, both included; returns its number.
  int Add(int64_t bytes, int64_t first, int64_t last);
  // Lengthens the life of a block.
  void Extend(int block, int64_t time);
  // Decides where the blocks lie. Nothing may be added afterwards.
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
  std::vector<Block> blocks_;
  int64_t bytes_ = 0;
};

}  // namespace insightface
