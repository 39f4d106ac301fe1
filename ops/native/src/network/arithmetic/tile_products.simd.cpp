#include "network/arithmetic/tile_products.h"

#include "network/arithmetic/vectors.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// The rows of two vectors each whose sums fit the registers.
#ifdef __AVX512F__
constexpr int kRows = 12, kOuterRows = 8;
#else
constexpr int kRows = 6, kOuterRows = 6;
#endif
constexpr int64_t kOuter = kPanelColumns / 2;  // rows of the result of MultiplyTransposed

// Two vectors of `rows` rows of c = a b.
template<int rows>
void MultiplyRows(const float* a, int64_t inner, const float* b, float* c, Upcoming::Lines next) {
  Vector sums[rows][2];
#pragma GCC unroll 12
  for (int row = 0; row < rows; ++row) { sums[row][0] = sums[row][1] = Vector{}; }
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    const Vector left = LoadWhole(b + i * kPanelColumns), right = LoadWhole(b + i * kPanelColumns + kLanes);
#pragma GCC unroll 12
    for (int row = 0; row < rows; ++row) {
      const float factor = a[row * inner + i];
      sums[row][0] += factor * left;
      sums[row][1] += factor * right;
    }
  };
  int64_t i = 0;
  for (; i < next.count; ++i) {
    next.Prefetch(i);
    step(i);
  }
  for (; i < inner; ++i) { step(i); }
#pragma GCC unroll 12
  for (int row = 0; row < rows; ++row) {
    StoreWhole(sums[row][0], c + row * kPanelColumns);
    StoreWhole(sums[row][1], c + row * kPanelColumns + kLanes);
  }
}

// Multiplies `rows` rows, at most `most`, all at once.
template<int most>
INSIGHTFACE_INLINE void MultiplyAtOnce(const float* a, int64_t rows, int64_t inner, const float* b, float* c,
                                       Upcoming::Lines next) {
  if constexpr (most > 1) {
    if (rows < most) {
      MultiplyAtOnce<most - 1>(a, rows, inner, b, c, next);
      return;
    }
  }
  MultiplyRows<most>(a, inner, b, c, next);
}

void MultiplyPanel(const float* a, int64_t rows, int64_t inner, const float* b, float* c, Upcoming::Lines next) {
  constexpr int64_t kColumns = 2 * kLanes;
  const int64_t parts = (rows + kRows - 1) / kRows * (kPanelColumns / kColumns);
  const int64_t most = (next.count + parts - 1) / parts;
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t part = rows - row < kRows ? rows - row : kRows;
    for (int64_t column = 0; column < kPanelColumns; column += kColumns) {
      const int64_t lines = next.count < most ? next.count : most;
      MultiplyAtOnce<kRows>(a + row * inner, part, inner, b + column, c + row * kPanelColumns + column,
                            {next.start, lines});
      next = {next.start + lines * Upcoming::kLineBytes, next.count - lines};
    }
  }
}

// Two vectors of `rows` rows of c = a^T b (+ c).
template<int rows>
INSIGHTFACE_INLINE void MultiplyOuter(const float* a, const float* b, int64_t right, int64_t inner, bool adds, float* c,
                                      int64_t c_step, int64_t c_right) {
  Vector sums[rows][2];
  if (adds) {
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) {
      sums[row][0] = LoadWhole(c + row * c_step);
      sums[row][1] = LoadWhole(c + row * c_step + c_right);
    }
  } else {
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) { sums[row][0] = sums[row][1] = Vector{}; }
  }
  for (int64_t i = 0; i < inner; ++i) {
    const Vector first = LoadWhole(b + i * kOuter), second = LoadWhole(b + i * kOuter + right);
#pragma GCC unroll 8
    for (int row = 0; row < rows; ++row) {
      const float factor = a[i * kOuter + row];
      sums[row][0] += factor * first;
      sums[row][1] += factor * second;
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < rows; ++row) {
    StoreWhole(sums[row][0], c + row * c_step);
    StoreWhole(sums[row][1], c + row * c_step + c_right);
  }
}

void MultiplyTransposed(const float* a, const float* b, int64_t b_step, int64_t rows, bool adds, float* c,
                        int64_t c_step) {
  for (int64_t column = 0; column < kOuter; column += kLanes) {
    int64_t row = 0;
    for (; row + kOuterRows <= kOuter; row += kOuterRows) {
      MultiplyOuter<kOuterRows>(a + row, b + column, b_step, rows, adds, c + row * c_step + column, c_step, kOuter);
    }
    if constexpr (kOuter % kOuterRows != 0) {
      MultiplyOuter<kOuter % kOuterRows>(a + row, b + column, b_step, rows, adds, c + row * c_step + column, c_step,
                                         kOuter);
    }
  }
}

}  // namespace

const TileProducts kTileProducts = {MultiplyPanel, MultiplyTransposed};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
