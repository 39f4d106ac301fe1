#include "network/arithmetic/unit_products.h"

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/matrix_products.h"
#include "network/arithmetic/matrix_unit.h"
#include "network/arithmetic/unit_packing.h"

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

int64_t UnitProducts::WholeRows() const { return (inner_ + kUnitInner - 1) / kUnitInner * kUnitInner; }

int64_t UnitProducts::ThreadBytes() const { return AlignedSize((rows_ + kUnitColumns) * WholeRows() * kNumber); }

int64_t UnitProducts::ScratchBytes() const { return threads_ * ThreadBytes(); }

void UnitProducts::RunShare(const BFloat16* a, const BFloat16* b, bool adds, float* c, char* scratch) const {
  constexpr int64_t kNone = -1;
  const int64_t whole_rows = WholeRows(), panels = columns_ / kUnitColumns;
  BFloat16* const transposed = reinterpret_cast<BFloat16*>(scratch + omp_get_thread_num() * ThreadBytes());
  BFloat16* const panel = transposed + rows_ * whole_rows;
  const MatrixUnit unit;
  const Share share(count_ * panels);
  int64_t packed = kNone;
  for (int64_t i = share.begin; i < share.end; ++i) {
    const int64_t matrix = i / panels, column = i % panels * kUnitColumns;
    if (packed != matrix) {
      TransposeRows({a + matrix * a_step_, inner_, rows_, rows_, whole_rows}, transposed);
      packed = matrix;
    }
    PairRows({b + matrix * b_step_ + column, inner_, kUnitColumns, columns_, whole_rows}, panel);
    for (int64_t row = 0; row < rows_; row += kUnitRows) {
      float* const to = c + matrix * c_step_ + row * columns_ + column;
      MultiplyByUnit({transposed + row * whole_rows, whole_rows}, {panel, kUnitColumns}, whole_rows,
                     adds ? UnitStart{to, columns_} : UnitStart{}, {to, columns_});
    }
  }
}

}  // namespace insightface
