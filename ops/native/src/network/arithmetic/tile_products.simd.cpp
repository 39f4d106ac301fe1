#include "network/arithmetic/tile_products.h"

#include <cstring>

#include "base/number_types.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

constexpr int64_t kLanes = kPanelColumns / 2;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

// The rows whose sums fit the registers.
#ifdef __AVX512F__
constexpr int kRows = 12;
#else
constexpr int kRows = 3;
#endif

template<int rows>
void MultiplyRows(const float* a, int64_t inner, const float* b, float* c, Upcoming::Lines next) {
  Lanes sums[rows][2] = {};
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    Lanes left, right;
    std::memcpy(&left, b + i * kPanelColumns, sizeof(left));
    std::memcpy(&right, b + i * kPanelColumns + kLanes, sizeof(right));
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
    std::memcpy(c + row * kPanelColumns, &sums[row][0], sizeof(Lanes));
    std::memcpy(c + row * kPanelColumns + kLanes, &sums[row][1], sizeof(Lanes));
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
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t part = rows - row < kRows ? rows - row : kRows;
    MultiplyAtOnce<kRows>(a + row * inner, part, inner, b, c + row * kPanelColumns, next);
    next = {};
  }
}

// Of the 16 rows of the result as many at a time as fit the registers.
#ifdef __AVX512F__
constexpr int kOuterRows = 8;
#else
constexpr int kOuterRows = 2;
#endif

void MultiplyTransposed(const float* a, const float* b, int64_t b_step, int64_t rows, bool adds, float* c,
                        int64_t c_step) {
  for (int first = 0; first < kLanes; first += kOuterRows) {
    float* const to = c + first * c_step;
    Lanes sums[kOuterRows][2] = {};
    if (adds) {
#pragma GCC unroll 8
      for (int row = 0; row < kOuterRows; ++row) {
        std::memcpy(&sums[row][0], to + row * c_step, sizeof(Lanes));
        std::memcpy(&sums[row][1], to + row * c_step + kLanes, sizeof(Lanes));
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      Lanes left, right;
      std::memcpy(&left, b + i * kLanes, sizeof(left));
      std::memcpy(&right, b + i * kLanes + b_step, sizeof(right));
#pragma GCC unroll 8
      for (int row = 0; row < kOuterRows; ++row) {
        const float factor = a[i * kLanes + first + row];
        sums[row][0] += factor * left;
        sums[row][1] += factor * right;
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kOuterRows; ++row) {
      std::memcpy(to + row * c_step, &sums[row][0], sizeof(Lanes));
      std::memcpy(to + row * c_step + kLanes, &sums[row][1], sizeof(Lanes));
    }
  }
}

}  // namespace

const TileProducts kTileProducts = {MultiplyPanel, MultiplyTransposed};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
