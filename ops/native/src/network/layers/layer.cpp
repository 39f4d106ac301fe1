#include "network/layers/layer.h"

#include <algorithm>

#include "network/layers/row_group.h"

namespace insightface {
namespace {

RowGroup GroupOf(const RowStage& stage) {
  RowGroup group;
  group.Add(stage);
  return group;
}

}  // namespace

void Layer::Forward(const ExecutionContext& context) {
  for (const RowStage& stage : ForwardStages()) { GroupOf(stage).Run(context); }
}

void Layer::Remake(const ExecutionContext& context) { Forward(context); }

void Layer::Backward(const ExecutionContext& context) {
  for (const RowStage& stage : BackwardStages()) { GroupOf(stage).Run(context); }
}

int64_t Layer::ScratchBytes() {
  int64_t bytes = 0;
  for (const auto& stages : {ForwardStages(), BackwardStages()}) {
    for (const RowStage& stage : stages) { bytes = std::max(bytes, GroupOf(stage).ScratchBytes()); }
  }
  return bytes;
}

}  // namespace insightface
