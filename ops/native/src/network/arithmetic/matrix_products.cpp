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

MatrixProducts::MatrixProducts(NumberType type, int64_t count, int64_t rows, int64_t inner, int64_t columns,
                               bool transposed, bool adds)
    : count_(count),
      threads_(omp_get_max_threads()),
      group_(GroupSize(count, threads_)),
      a_bytes_(rows * inner * BytesOf(type)),
      b_bytes_(inner * columns * BytesOf(type)),
      c_step_(rows * columns),
      a_({group_, rows, inner}, OneDnnType(type), transposed ? memory::format_tag::acb : memory::format_tag::abc),
      b_({group_, inner, columns}, OneDnnType(type), memory::format_tag::abc),
      c_({group_, rows, columns}, memory::data_type::f32, memory::format_tag::abc),
      description_(DescribeThreadMatmul(a_, b_, c_, adds)),
      primitive_(MakeThreadMatmul(description_)) {}

void MatrixProducts::RunShare(const void* a, const void* b, float* c, char* scratch) const {
  const memory::desc scratchpad = description_.scratchpad_desc();
  scratch += omp_get_thread_num() * AlignedSize(static_cast<int64_t>(scratchpad.get_size()));
  const Share share(count_ / group_);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t first = i * group_;
    primitive_.execute(OneDnnStream(),
                       {{DNNL_ARG_SRC, AsMemory(a_, static_cast<const char*>(a) + first * a_bytes_)},
                        {DNNL_ARG_WEIGHTS, AsMemory(b_, static_cast<const char*>(b) + first * b_bytes_)},
                        {DNNL_ARG_DST, AsMemory(c_, c + first * c_step_)},
                        {DNNL_ARG_SCRATCHPAD, AsMemory(scratchpad, scratch)}});
  }
}

int64_t MatrixProducts::ScratchBytes() const {
  return threads_ * AlignedSize(static_cast<int64_t>(description_.scratchpad_desc().get_size()));
}

}  // namespace insightface
