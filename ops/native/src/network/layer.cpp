#include "network/layer.h"

#include <algorithm>

#include "network/row_group.h"

namespace insightface {

void Layer::Forward(const Run& run) {
  for (const RowGroup& group : FormGroups(ForwardStages())) { group.Run(run); }
}

void Layer::Backward(const Run& run) {
  for (const RowGroup& group : FormGroups(BackwardStages())) { group.Run(run); }
}

int64_t Layer::ScratchBytes() {
  int64_t bytes = 0;
  for (const auto& stages : {ForwardStages(), BackwardStages()}) {
    for (const RowGroup& group : FormGroups(stages)) { bytes = std::max(bytes, group.ScratchBytes()); }
  }
  return bytes;
}

}  // namespace insightface
