// Stages that follow each other, done together: each thread takes a block of rows through all of them while it lies in
// the caches.
#pragma once

#include <cstdint>
#include <vector>

#include "network/layers/layer.h"
#include "network/layers/row_stage.h"

namespace insightface {

// The rows of a block for stages whose rows hold `width` numbers altogether: a divisor of `rows`, so that blocks fit the
// second level cache and keep all threads busy. 0 where there is none.
int64_t ChooseBlock(int64_t rows, int64_t width);

class RowGroup {
 public:
  // Whether the stage may join: it has as many rows, can take as many at a time, and waits for no last row.
  bool Takes(const RowStage& stage) const;
  void Add(const RowStage& stage);
  void Run(const insightface::Run& run) const;
  int64_t ScratchBytes() const;

 private:
  std::vector<RowStage> stages_;
};

}  // namespace insightface
