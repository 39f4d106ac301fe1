#include "class_rows/row_bank.h"

#include <cstring>

#include "base/call_counts.h"
#include "base/parallel.h"
#include "base/team.h"

namespace insightface {
namespace {

// The rows lie anywhere: the processor is told of one while it works at another.
constexpr int64_t kAhead = 4;
constexpr int64_t kLine = 16;  // numbers of a cache line

inline void Announce(const RowChoice& choice, int64_t i, int64_t end, const float* matrix) {
  if (i + kAhead >= end) { return; }
  const float* const row = matrix + choice.indices[i + kAhead] * choice.width;
  for (int64_t n = 0; n < choice.width; n += kLine) { __builtin_prefetch(row + n); }
}

__attribute__((optimize("fp-contract=off"))) INSIGHTFACE_VECTORISED void UpdateRow(const float* gradient, int64_t width,
                                                                                   MomentumRule rule, float* row,
                                                                                   float* buffer) {
#pragma omp simd
  for (int64_t n = 0; n < width; ++n) {
    const float change = row[n] * rule.weight_decay + gradient[n];
    const float moved = buffer[n] * rule.momentum + change;
    buffer[n] = moved;
    row[n] = row[n] - moved * rule.lr;
  }
}

}  // namespace

void TakeRows(const RowChoice& choice, const float* matrix, float* target) {
  const size_t bytes = static_cast<size_t>(choice.width) * sizeof(float);
  ParallelRows(choice.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      Announce(choice, i, end, matrix);
      std::memcpy(target + i * choice.width, matrix + choice.indices[i] * choice.width, bytes);
    }
  });
}

void UpdateRows(const RowChoice& choice, const float* gradients, const MomentumRule& rule, float* matrix,
                float* buffers) {
  ParallelRows(choice.count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      Announce(choice, i, end, matrix);
      Announce(choice, i, end, buffers);
      const int64_t start = choice.indices[i] * choice.width;
      UpdateRow(gradients + i * choice.width, choice.width, rule, matrix + start, buffers + start);
    }
  });
}

}  // namespace insightface

extern "C" {

// For Python, which has checked that all indices are rows of the matrix.
void insightface_take_rows(const int64_t* indices, int64_t count, int64_t width, const float* matrix, float* target) {
  insightface::OnTeam([&] { insightface::TakeRows({indices, count, width}, matrix, target); });
}

void insightface_update_rows(const int64_t* indices, int64_t count, int64_t width, const float* gradients, float lr,
                             float momentum, float weight_decay, float* matrix, float* buffers) {
  insightface::OnTeam([&] {
    insightface::UpdateRows({indices, count, width}, gradients, {lr, momentum, weight_decay}, matrix, buffers);
  });
}

}  // extern "C"
