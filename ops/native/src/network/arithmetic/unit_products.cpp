#include "network/arithmetic/unit_products.h"

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/matrix_products.h"
#include "network/arithmetic/matrix_unit.h"

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

#include "network/arithmetic/half_pairs.h"

namespace insightface {
namespace {

// Rows 2 p and 2 p + 1 of [rows, width], as pairs of a part of 32 columns; rows beyond the last are zeros.
INSIGHTFACE_INLINE void PairRows(const BFloat16* matrix, int64_t rows, int64_t width, int64_t p, int* pairs) {
  const auto row = [&](int64_t i) { return i < rows ? matrix + i * width : nullptr; };
  Interleave(row(2 * p), row(2 * p + 1), kUnitColumns, pairs);
}

// Writes 32 columns of [rows, width] as [paired_rows / 2, 32, 2].
void PackColumns(const BFloat16* matrix, int64_t rows, int64_t width, int64_t paired_rows, BFloat16* to) {
  int* const pairs = reinterpret_cast<int*>(to);
  for (int64_t p = 0; p < paired_rows / 2; ++p) { PairRows(matrix, rows, width, p, pairs + p * kUnitColumns); }
}

// Writes the transpose of [rows, width] as [width, paired_rows].
void PackTransposed(const BFloat16* matrix, int64_t rows, int64_t width, int64_t paired_rows, BFloat16* to) {
  for (int64_t column = 0; column < width; column += kUnitColumns) {
    for (int64_t first = 0; first < paired_rows / 2; first += kPairLanes) {
      alignas(64) int pairs[kPairLanes][kUnitColumns];
      for (int64_t p = 0; p < kPairLanes; ++p) { PairRows(matrix + column, rows, width, first + p, pairs[p]); }
      for (int64_t part = 0; part < kUnitColumns; part += kPairLanes) {
        __m512i square[kPairLanes];
        for (int64_t p = 0; p < kPairLanes; ++p) { square[p] = _mm512_load_si512(pairs[p] + part); }
        Transpose(square);
        BFloat16* const rows_to = to + (column + part) * paired_rows + 2 * first;
        for (int64_t i = 0; i < kPairLanes; ++i) { _mm512_storeu_si512(rows_to + i * paired_rows, square[i]); }
      }
    }
  }
}

}  // namespace
}  // namespace insightface

#pragma GCC pop_options

#else

namespace insightface {
namespace {

void PackColumns(const BFloat16*, int64_t, int64_t, int64_t, BFloat16*) {}
void PackTransposed(const BFloat16*, int64_t, int64_t, int64_t, BFloat16*) {}

}  // namespace
}  // namespace insightface

#endif

namespace insightface {
namespace {

constexpr int64_t kNumber = sizeof(BFloat16);

}  // namespace

bool UnitProducts::Suits(int64_t rows, int64_t columns) {
  return HasMatrixUnit() && rows % kUnitRows == 0 && columns % kUnitColumns == 0;
}

UnitProducts::UnitProducts(int64_t count, int64_t rows, int64_t inner, int64_t columns)
    : count_(count),
      rows_(rows),
      inner_(inner),
      columns_(columns),
      threads_(omp_get_max_threads()),
      a_step_(MatrixStep(rows * inner, kNumber)),
      b_step_(MatrixStep(inner * columns, kNumber)),
      c_step_(MatrixStep(rows * columns, sizeof(float))) {}

int64_t UnitProducts::PairedRows() const { return (inner_ + kUnitInner - 1) / kUnitInner * kUnitInner; }

int64_t UnitProducts::ThreadBytes() const { return AlignedSize((rows_ + kUnitColumns) * PairedRows() * kNumber); }

int64_t UnitProducts::ScratchBytes() const { return threads_ * ThreadBytes(); }

void UnitProducts::RunShare(const BFloat16* a, const BFloat16* b, bool adds, float* c, char* scratch) const {
  constexpr int64_t kNone = -1;
  const int64_t paired_rows = PairedRows(), panels = columns_ / kUnitColumns;
  BFloat16* const transposed = reinterpret_cast<BFloat16*>(scratch + omp_get_thread_num() * ThreadBytes());
  BFloat16* const panel = transposed + rows_ * paired_rows;
  const MatrixUnit unit;
  const Share share(count_ * panels);
  int64_t packed = kNone;
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t matrix = i / panels, column = i % panels * kUnitColumns;
    if (packed != matrix) {
      PackTransposed(a + matrix * a_step_, inner_, rows_, paired_rows, transposed);
      packed = matrix;
    }
    PackColumns(b + matrix * b_step_ + column, inner_, columns_, paired_rows, panel);
    for (int64_t row = 0; row < rows_; row += kUnitRows) {
      MultiplyByUnit(transposed + row * paired_rows, paired_rows, paired_rows, panel,
                     {c + matrix * c_step_ + row * columns_ + column, columns_, adds});
    }
  }
}

}  // namespace insightface
