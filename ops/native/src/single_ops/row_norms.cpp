#include "single_ops/row_norms.h"

#include "base/parallel.h"
#include "single_ops/row_loops.h"

namespace insightface {
void NormalizeRows(const RowsShape& shape, const float* x, float epsilon, float* y, float* square_sums) {
  ParallelRows(shape.rows, [&](int64_t begin, int64_t end, int) {
    kRowLoops.Normalize(x + begin * shape.width, end - begin, shape.width, epsilon, y + begin * shape.width,
                        square_sums + begin);
  });
}

void NormalizeRowsGrad(const RowsShape& shape, const float* y, const float* dy, const float* square_sums, float epsilon,
                       float* dx) {
  ParallelRows(shape.rows, [&](int64_t begin, int64_t end, int) {
    const int64_t start = begin * shape.width;
    kRowLoops.NormalizeGrad(y + start, dy + start, square_sums + begin, end - begin, shape.width, epsilon, dx + start);
  });
}

}  // namespace insightface
