// Consecutive stages that run together: each thread takes a block of rows through all of them while it is in the
// caches.
#pragma once

#include <cstdint>
#include <vector>

#include "network/layers/layer.h"
#include "network/layers/row_stage.h"

namespace insightface {

class RowGroup {
 public:
  // Whether the stage may join the group: it has the same number of rows, accepts the group's block size, and needs no
  // row of the group before its own.
  bool Accepts(const RowStage& stage) const;
  void Add(const RowStage& stage);
  // Says that no stage of another group reads this map: each thread holds only the rows of its block, in the map's own
  // memory, which needs HeldBytes. Only when all stages have been added.
  void Hold(const RowMap& map) { held_.push_back(map); }
  int64_t HeldBytes(const RowMap& map) const;

  int64_t Rows() const { return stages_.front().rows; }
  void Run(const ExecutionContext& whole) const;
  int64_t ScratchBytes() const;

 private:
  int64_t Block() const;
  std::vector<RowMap> Reads() const;

  std::vector<RowStage> stages_;
  std::vector<RowMap> held_;
};

}  // namespace insightface
