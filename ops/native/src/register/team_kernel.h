// The base class of every kernel: runs its work on the team and counts the call.
#pragma once

#include "base/call_counts.h"
#include "base/team.h"
#include "oneflow/core/framework/framework.h"

namespace insightface {

template<Kernel kernel>
class TeamKernel : public oneflow::user_op::OpKernel {
 public:
  bool AlwaysComputeWhenAllOutputsEmpty() const final { return false; }

 private:
  using OpKernel::Compute;
  void Compute(oneflow::user_op::KernelComputeContext* context) const final {
    OnTeam([&] { Run(context); });
    CountCall(kernel);
  }
  virtual void Run(oneflow::user_op::KernelComputeContext* context) const = 0;
};

}  // namespace insightface
