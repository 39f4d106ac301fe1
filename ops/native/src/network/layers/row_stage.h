// Work of a layer that goes row by row of its maps: what it does to a row depends on the same row of other maps alone.
#pragma once

#include <cstdint>
#include <functional>

namespace insightface {

struct Run;

struct RowStage {
  int64_t rows = 0;
  int64_t width = 0;          // the numbers that it reads and writes per row
  int64_t block = 0;          // how many rows it takes at a time, a divisor of all; 0: any number
  bool reduces = false;       // what it finds out is known only after its last row
  int64_t scratch_bytes = 0;  // needed from begin to end
  std::function<void(const Run&, char* scratch)> begin = {};
  std::function<void(const Run&, int64_t first, int64_t last, int thread)> work = {};
  std::function<void(const Run&)> end = {};
};

}  // namespace insightface
