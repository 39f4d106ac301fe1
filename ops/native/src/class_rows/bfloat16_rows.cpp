#include "class_rows/bfloat16_rows.h"

#include "base/array_loops.h"
#include "base/parallel.h"
#include "base/team.h"
#include "class_rows/prefetch.h"

namespace insightface {

void WidenRows(const RowIndices& rows, const BFloat16* matrix, float* target) {
  ParallelRows(rows.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      PrefetchAhead(rows, i, end, matrix);
      kArrayLoops.Widen(matrix + rows.indices[i] * rows.width, target + i * rows.width, rows.width);
    }
  });
}

void RoundRows(const RowIndices& rows, const float* values, const RowDraws& draws, RowArray array, BFloat16* matrix) {
  ParallelRows(rows.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows.indices[i];
      kClassRowLoops.RoundAtRandom(values + i * rows.width, rows.width, RowKey(draws, row, array),
                                   matrix + row * rows.width);
    }
  });
}

void UpdateBFloat16Rows(const RowIndices& rows, const float* gradients, const MomentumRule& rule, const RowDraws& draws,
                        BFloat16* matrix, BFloat16* momenta) {
  ParallelRows(rows.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      PrefetchAhead(rows, i, end, matrix);
      PrefetchAhead(rows, i, end, momenta);
      const int64_t row = rows.indices[i], start = row * rows.width;
      const RowKeys keys{RowKey(draws, row, RowArray::kWeight), RowKey(draws, row, RowArray::kMomentum)};
      kClassRowLoops.UpdateAtRandom(gradients + i * rows.width, rows.width, rule, keys, matrix + start,
                                    momenta + start);
    }
  });
}

}  // namespace insightface

extern "C" {

// Called by ops/native/bfloat16_rows.py, which has checked that all indices are rows of the matrix.
void insightface_widen_rows(const int64_t* indices, int64_t count, int64_t width, const insightface::BFloat16* matrix,
                            float* target) {
  insightface::OnTeam([&] { insightface::WidenRows({indices, count, width}, matrix, target); });
}

void insightface_round_rows(const int64_t* indices, int64_t count, int64_t width, const float* values, uint64_t seed,
                            uint64_t step, int64_t first_row, uint64_t array, insightface::BFloat16* matrix) {
  insightface::OnTeam([&] {
    insightface::RoundRows({indices, count, width}, values, {seed, step, first_row},
                           static_cast<insightface::RowArray>(array), matrix);
  });
}

void insightface_update_bfloat16_rows(const int64_t* indices, int64_t count, int64_t width, const float* gradients,
                                      float lr, float momentum, float weight_decay, uint64_t seed, uint64_t step,
                                      int64_t first_row, insightface::BFloat16* matrix,
                                      insightface::BFloat16* momenta) {
  insightface::OnTeam([&] {
    insightface::UpdateBFloat16Rows({indices, count, width}, gradients, {lr, momentum, weight_decay},
                                    {seed, step, first_row}, matrix, momenta);
  });
}

}  // extern "C"
