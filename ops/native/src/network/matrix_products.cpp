#include "network/matrix_products.h"

#include "network/parallel.h"
#include "network/prepared.h"
#include "onednn.h"

namespace insightface {
namespace {

using dnnl::memory;

// Sets the calling thread's team for the life of the object.
class TeamSize {
 public:
  explicit TeamSize(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~TeamSize() { omp_set_num_threads(before_); }
  TeamSize(const TeamSize&) = delete;
  TeamSize& operator=(const TeamSize&) = delete;

 private:
  const int before_;
};

// oneDNN plans a primitive for the team it finds when that is made; here every thread runs it by itself.
dnnl::matmul::primitive_desc Describe(const memory::desc& a, const memory::desc& b, const memory::desc& c, bool adds) {
  const TeamSize one(1);
  dnnl::primitive_attr attributes = CallersScratchpad();
  dnnl::post_ops operations;
  if (adds) { operations.append_sum(); }
  attributes.set_post_ops(operations);
  return {OneDnnEngine(), a, b, c, attributes};
}

dnnl::matmul Make(const dnnl::matmul::primitive_desc& description) {
  const TeamSize one(1);
  return dnnl::matmul(description);
}

// The most matrices at a time that leave none of the threads idle.
int64_t GroupSize(int64_t count, int64_t threads) {
  int64_t group = count;
  while (group > 1 && (count % group != 0 || count / group < threads)) { --group; }
  return group;
}

}  // namespace

MatrixProducts::MatrixProducts(int64_t count, int64_t rows, int64_t inner, int64_t columns, bool transposed, bool adds)
    : count_(count),
      threads_(omp_get_max_threads()),
      group_(GroupSize(count, threads_)),
      a_step_(rows * inner),
      b_step_(inner * columns),
      c_step_(rows * columns),
      a_({group_, rows, inner}, memory::data_type::f32, transposed ? memory::format_tag::acb : memory::format_tag::abc),
      b_({group_, inner, columns}, memory::data_type::f32, memory::format_tag::abc),
      c_({group_, rows, columns}, memory::data_type::f32, memory::format_tag::abc),
      description_(Describe(a_, b_, c_, adds)),
      primitive_(Make(description_)) {}

void MatrixProducts::RunShare(const float* a, const float* b, float* c, char* scratch) const {
  const memory::desc scratchpad = description_.scratchpad_desc();
  scratch += omp_get_thread_num() * Room(static_cast<int64_t>(scratchpad.get_size()));
  const Share share(count_ / group_);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t first = i * group_;
    primitive_.execute(OneDnnStream(), {{DNNL_ARG_SRC, At(a_, a + first * a_step_)},
                                        {DNNL_ARG_WEIGHTS, At(b_, b + first * b_step_)},
                                        {DNNL_ARG_DST, At(c_, c + first * c_step_)},
                                        {DNNL_ARG_SCRATCHPAD, At(scratchpad, scratch)}});
  }
}

int64_t MatrixProducts::ScratchBytes() const {
  return threads_ * Room(static_cast<int64_t>(description_.scratchpad_desc().get_size()));
}

}  // namespace insightface
