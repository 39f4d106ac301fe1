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

MatrixProducts::MatrixProducts(NumberType type, int64_t count, int64_t rows, int64_t inner, int64_t columns,
                               bool transposed, bool adds)
    : count_(count),
      threads_(omp_get_max_threads()),
      group_(GroupSize(count, threads_)),
      a_step_(MatrixStep(rows * inner, BytesOf(type))),
      b_step_(MatrixStep(inner * columns, BytesOf(type))),
      c_step_(MatrixStep(rows * columns, sizeof(float))),
      number_bytes_(BytesOf(type)),
      a_({group_, rows, inner}, OneDnnType(type),
         transposed ? memory::dims{a_step_, 1, rows} : memory::dims{a_step_, inner, 1}),
      b_({group_, inner, columns}, OneDnnType(type), memory::dims{b_step_, columns, 1}),
      c_({group_, rows, columns}, memory::data_type::f32, memory::dims{c_step_, columns, 1}),
      description_(DescribeThreadMatmul(a_, b_, c_, adds)),
      primitive_(MakeThreadMatmul(description_)) {}

void MatrixProducts::RunShare(const void* a, const void* b, float* c, char* scratch) const {
  const memory::desc scratchpad = description_.scratchpad_desc();
  scratch += omp_get_thread_num() * AlignedSize(static_cast<int64_t>(scratchpad.get_size()));
  const Share share(count_ / group_);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t first = i * group_;
    primitive_.execute(OneDnnStream(),
                       {{DNNL_ARG_SRC, AsMemory(a_, static_cast<const char*>(a) + first * a_step_ * number_bytes_)},
                        {DNNL_ARG_WEIGHTS, AsMemory(b_, static_cast<const char*>(b) + first * b_step_ * number_bytes_)},
                        {DNNL_ARG_DST, AsMemory(c_, c + first * c_step_)},
                        {DNNL_ARG_SCRATCHPAD, AsMemory(scratchpad, scratch)}});
  }
}

int64_t MatrixProducts::ScratchBytes() const {
  return threads_ * AlignedSize(static_cast<int64_t>(description_.scratchpad_desc().get_size()));
}

}  // namespace insightface
