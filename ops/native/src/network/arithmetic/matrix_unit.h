// Products of bfloat16 matrices by the processor's matrix unit (AMX): one instruction multiplies 16 rows of 32 numbers
// with 32 rows of 16 numbers and adds the products to float32 sums.
#pragma once

#include <cstdint>

#include "base/number_types.h"
#include "network/arithmetic/upcoming.h"

namespace insightface {

constexpr int64_t kUnitRows = 32, kUnitColumns = 32;  // of a product
constexpr int64_t kUnitInner = 32;                    // numbers that a sum takes at a time

// Whether this processor has a matrix unit, and oneDNN may use it; call nothing else here if it has not.
bool HasMatrixUnit();

// While it lives, the calling thread's matrix unit is set up for the products below; oneDNN, which sets it up in its own
// way, must not be called by this thread meanwhile.
class MatrixUnit {
 public:
  MatrixUnit();
  ~MatrixUnit();
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;
};

// While it lives, the calling thread's unit stays set up from one MatrixUnit to the next, as setting it up takes as long
// as the product of a few tiles. One at a time; oneDNN must not be called by this thread meanwhile.
class MatrixUnitHold {
 public:
  MatrixUnitHold();
  ~MatrixUnitHold();
  MatrixUnitHold(const MatrixUnitHold&) = delete;
  MatrixUnitHold& operator=(const MatrixUnitHold&) = delete;
};

// The sums of a product, and where they lie: c is [32, 32], its rows `step` numbers apart, and its columns from the 16th
// on `right` numbers behind the first.
struct UnitSums {
  float* c;
  int64_t step;
  int64_t right = kUnitColumns / 2;
};

// A factor of a product: its rows lie `step` numbers apart, in the second factor `step` pairs.
struct UnitFactor {
  const BFloat16* start;
  int64_t step;
};

// What the sums begin with: numbers [32, 32], or with a step of 0 the same row for all; zeros if it is null.
struct UnitStart {
  const float* numbers = nullptr;
  int64_t step = 0;
};

// c = start + a b: a is [32, inner], b [inner / 2, 32, 2], pairs of rows together; `inner` is a multiple of 32. Lines
// that the caller needs next are prefetched meanwhile.
void MultiplyByUnit(const UnitFactor& a, const UnitFactor& b, int64_t inner, const UnitStart& start,
                    const UnitSums& sums, Upcoming::Lines next = {});

}  // namespace insightface
