#include "base/thread_product.h"

#include "base/onednn.h"

namespace insightface {
namespace {

using dnnl::memory;

memory::desc Describe(int64_t rows, int64_t columns, memory::format_tag layout) {
  return {{rows, columns}, memory::data_type::f32, layout};
}

}  // namespace

ThreadProduct::ThreadProduct(int64_t rows, int64_t inner, int64_t columns, SecondFactor kind, bool adds,
                             FirstFactor first)
    : a_(Describe(rows, inner, first == FirstFactor::kPlain ? memory::format_tag::ab : memory::format_tag::ba)),
      given_b_(Describe(inner, columns,
                        kind == SecondFactor::kFixedTransposed ? memory::format_tag::ba : memory::format_tag::ab)),
      c_(Describe(rows, columns, memory::format_tag::ab)),
      description_(DescribeThreadMatmul(
          a_, kind == SecondFactor::kChanges ? given_b_ : Describe(inner, columns, memory::format_tag::any), c_, adds)),
      primitive_(MakeThreadMatmul(description_)) {}

AlignedBytes ThreadProduct::Prepare(const float* b) const {
  const Reorder reorder = Preparation();
  AlignedBytes prepared(reorder.Bytes());
  reorder.Run(b, prepared.data());
  return prepared;
}

void ThreadProduct::Run(const float* a, const void* b, float* c, void* scratch) const {
  primitive_.execute(OneDnnStream(), {{DNNL_ARG_SRC, AsMemory(a_, a)},
                                      {DNNL_ARG_WEIGHTS, AsMemory(description_.weights_desc(), b)},
                                      {DNNL_ARG_DST, AsMemory(c_, c)},
                                      {DNNL_ARG_SCRATCHPAD, AsMemory(description_.scratchpad_desc(), scratch)}});
}

int64_t ThreadProduct::ScratchBytes() const { return static_cast<int64_t>(description_.scratchpad_desc().get_size()); }

}  // namespace insightface
