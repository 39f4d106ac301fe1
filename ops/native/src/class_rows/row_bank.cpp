#include "class_rows/row_bank.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
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

void ReadRowsAhead(const RowIndices& rows, const char* matrix) {
  const uintptr_t page = sysconf(_SC_PAGESIZE), first = reinterpret_cast<uintptr_t>(matrix);
  uintptr_t begin = 0, end = 0;  // pages to ask for next
  const auto ask = [&] {
    if (begin < end) { madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED); }  // failure costs time only
  };
  for (int64_t i = 0; i < rows.count; ++i) {
    const uintptr_t row = first + rows.indices[i] * rows.width;
    const uintptr_t low = row / page * page, high = (row + rows.width + page - 1) / page * page;
    if (low > end) {
      ask();
      begin = low;
    }
    end = std::max(end, high);
  }
  ask();
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

void insightface_read_rows_ahead(const int64_t* indices, int64_t count, int64_t row_bytes, const char* matrix) {
  insightface::ReadRowsAhead({indices, count, row_bytes}, matrix);
}

}  // extern "C"
