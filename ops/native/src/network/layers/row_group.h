// Consecutive stages that run together: each thread takes a block of rows through all of them while it is in the
// caches.
#pragma once

#include <cstdint>
#include <vector>

#include "network/layers/layer.h"
#include "network/layers/row_stage.h"

namespace insightface {

// Returns the number of rows per block for stages whose rows hold `width` numbers altogether: a divisor of `rows` with
// which blocks fit the second level cache and keep all threads busy, or 0 if there is none.
int64_t ChooseBlock(int64_t rows, int64_t width);

class RowGroup {
 public:
  // Whether the stage may join the group: it has the same number of rows, accepts the group's block size, and needs no
  // row of the group before its own.
  bool Accepts(const RowStage& stage) const;
  void Add(const RowStage& stage);
  void Run(const ExecutionContext& context) const;
  int64_t ScratchBytes() const;

 private:
  std::vector<RowStage> stages_;
};

}  // namespace insightface
