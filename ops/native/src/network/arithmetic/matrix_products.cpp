#include "network/arithmetic/matrix_products.h"

#include "base/alignment.h"
#include "base/onednn.h"
#include "base/parallel.h"
#include "base/prepared.h"

namespace insightface {
namespace {

using dnnl::memory;

// The largest number of matrices at a time that leaves no thread idle.
int64_t GroupSize(int64_t count, int64_t threads) {
  int64_t group = count;
  while (group > 1 && (count % group != 0 || count / group < threads)) { --group; }
  return group;
}

}  // namespace

int64_t MatrixStep(int64_t numbers, int64_t number_bytes) {
  constexpr int64_t kSets = 64, kRemainder = 5;
  const int64_t lines = (numbers * number_bytes + kAlignment - 1) / kAlignment;
  return ((lines - kRemainder + kSets - 1) / kSets * kSets + kRemainder) * kAlignment / number_bytes;
}

MatrixProducts::MatrixProducts(int64_t count, int64_t rows, int64_t inner, int64_t columns, bool adds)
    : count_(count),
      threads_(omp_get_max_threads()),
      group_(GroupSize(count, threads_)),
      a_step_(MatrixStep(rows * inner, sizeof(BFloat16))),
      b_step_(MatrixStep(inner * columns, sizeof(BFloat16))),
      c_step_(MatrixStep(rows * columns, sizeof(float))),
      a_({group_, rows, inner}, memory::data_type::bf16, memory::dims{a_step_, 1, rows}),
      b_({group_, inner, columns}, memory::data_type::bf16, memory::dims{b_step_, columns, 1}),
      c_({group_, rows, columns}, memory::data_type::f32, memory::dims{c_step_, columns, 1}),
      description_(DescribeThreadMatmul(a_, b_, c_, adds)),
      primitive_(MakeThreadMatmul(description_)) {}

void MatrixProducts::RunShare(const BFloat16* a, const BFloat16* b, float* c, char* scratch) const {
  const memory::desc scratchpad = description_.scratchpad_desc();
  scratch += omp_get_thread_num() * AlignedSize(static_cast<int64_t>(scratchpad.get_size()));
  const Share share(count_ / group_);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t first = i * group_;
    primitive_.execute(OneDnnStream(),
                       {{DNNL_ARG_SRC, AsMemory(a_, a + first * a_step_)},
                        {DNNL_ARG_WEIGHTS, AsMemory(b_, b + first * b_step_)},
                        {DNNL_ARG_DST, AsMemory(c_, c + first * c_step_)},
                        {DNNL_ARG_SCRATCHPAD, AsMemory(scratchpad, scratch)}});
  }
}

int64_t MatrixProducts::ScratchBytes() const {
  return threads_ * AlignedSize(static_cast<int64_t>(description_.scratchpad_desc().get_size()));
}

}  // namespace insightface
