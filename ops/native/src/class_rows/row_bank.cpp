#include "class_rows/row_bank.h"

#include <cstring>

#include "base/parallel.h"
#include "base/team.h"

namespace insightface {

void SelectRows(const RowIndices& rows, const float* matrix, float* target) {
  const size_t bytes = static_cast<size_t>(rows.width) * sizeof(float);
  ParallelRows(rows.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      PrefetchAhead(rows, i, end, matrix);
      std::memcpy(target + i * rows.width, matrix + rows.indices[i] * rows.width, bytes);
    }
  });
}

void UpdateRows(const RowIndices& rows, const float* gradients, const MomentumRule& rule, float* matrix,
                float* momenta) {
  ParallelRows(rows.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      PrefetchAhead(rows, i, end, matrix);
      PrefetchAhead(rows, i, end, momenta);
      const int64_t start = rows.indices[i] * rows.width;
      kClassRowLoops.Update(gradients + i * rows.width, rows.width, rule, matrix + start, momenta + start);
    }
  });
}

}  // namespace insightface

extern "C" {

// Called by ops/native/rows.py, which has checked that all indices are rows of the matrix.
void insightface_select_rows(const int64_t* indices, int64_t count, int64_t width, const float* matrix, float* target) {
  insightface::OnTeam([&] { insightface::SelectRows({indices, count, width}, matrix, target); });
}

void insightface_update_rows(const int64_t* indices, int64_t count, int64_t width, const float* gradients, float lr,
                             float momentum, float weight_decay, float* matrix, float* momenta) {
  insightface::OnTeam([&] {
    insightface::UpdateRows({indices, count, width}, gradients, {lr, momentum, weight_decay}, matrix, momenta);
  });
}

}  // extern "C"
