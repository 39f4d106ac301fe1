// Work of a layer on one row of its maps after the other: the result for a row depends only on that row of other maps.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/parallel.h"

namespace insightface {

struct ExecutionContext;

// A map of rows: a value, or its gradient.
struct RowMap {
  int value;
  bool is_gradient;
  int64_t row_bytes;
};

struct RowStage {
  int64_t rows = 0;
  int64_t width = 0;          // numbers read and written per row
  int64_t block = 0;          // rows processed at a time, a divisor of `rows`; 0: any number
  bool reduces = false;       // its result is known only after the last row
  bool gathers = false;       // reads other rows of its input too: it begins a group
  int64_t scratch_bytes = 0;  // needed from begin to end
  std::function<void(const ExecutionContext&, char* scratch)> begin = {};
  // Processes the rows from `first` to `last`, a block of the part; sums over rows are kept by part.
  std::function<void(const ExecutionContext&, int64_t first, int64_t last, const Part& part)> work = {};
  std::function<void(const ExecutionContext&)> end = {};
  // The maps that `work` reads, to be prefetched while the thread processes the rows before.
  std::function<std::vector<RowMap>()> reads = {};
};

}  // namespace insightface
