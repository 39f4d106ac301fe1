#include "network/arithmetic/pointwise_products.h"

#include "network/arithmetic/vectors.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// The sums of a tile, one row of weights and a number fill the registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 4, kTileVectors = 4;
#else
constexpr int kTileRows = 6, kTileVectors = 2;
#endif
constexpr int kOuterRows = 6;  // of a tile of AddOuter, whose second factor comes from the second cache
constexpr int64_t kTileColumns = kTileVectors * kLanes;
static_assert(kPanelColumns % kTileColumns == 0, "panels divide into tiles");

// Which way the first factor lies in memory: numbers of the inner dimension, or of the rows, are neighbours.
enum class Along { kInner, kRows };
// How the result lies in memory: a row's numbers are neighbours, or each vector of columns has a plane of its own, in
// which the rows lie one behind the other.
enum class Result { kRows, kPlanes };

using Epilogue = ProductEpilogue<float>;

// A vector of a tile of y: `y_step` is that of its rows, or of its planes.
template<Result result>
INSIGHTFACE_INLINE float* PlaceOf(float* y, int64_t y_step, int r, int v) {
  return result == Result::kRows ? y + r * y_step + v * kLanes : y + v * y_step + r * kLanes;
}

// A tile of y = a b and what the epilogue does: number (row, k) of a is a[row * a_step + k], or a[k * a_step + row];
// row k of b, of whole vectors unless `part` columns are there, begins at b + k * b_step. All loops over the tile are
// unrolled, without which GCC keeps the sums in memory before and behind the loop over k.
template<int rows, int vectors, Along along, Result result, bool is_part>
INSIGHTFACE_INLINE void Tile(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t inner,
                             const Epilogue& epilogue, float* y, int64_t y_step, Upcoming::Lines fetch, int64_t part) {
  Vector sums[rows][vectors];
  const auto step = [&](int64_t k) __attribute__((always_inline)) {
    Vector line[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const float* const from = b + k * b_step + v * kLanes;
      line[v] = is_part ? LoadPart(from, part) : LoadWhole(from);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const float number = along == Along::kInner ? a[r * a_step + k] : a[k * a_step + r];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) { sums[r][v] += number * line[v]; }
    }
  };
  if (epilogue.adds) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const float* const place = PlaceOf<result>(y, y_step, r, v);
        sums[r][v] = is_part ? LoadPart(place, part) : LoadWhole(place);
      }
    }
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        // Of the tile below, whose lines may be far.
        if (result == Result::kRows) { __builtin_prefetch(PlaceOf<result>(y, y_step, r + rows, v), 1); }
        sums[r][v] = Vector{};
      }
    }
  }
  int64_t k = 0;
  for (; k < fetch.count; ++k) {
    fetch.Prefetch(k);
    step(k);
  }
  for (; k < inner; ++k) { step(k); }
  if (along == Along::kInner && epilogue.bias != nullptr) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const Vector bias = LoadWhole(epilogue.bias + v * kLanes);
      const Vector slope = epilogue.slope != nullptr ? LoadWhole(epilogue.slope + v * kLanes) : Vector{} + 1.0f;
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const Vector value = sums[r][v] + bias;
        sums[r][v] = Select(value, value, value * slope);
      }
    }
    if (epilogue.addend != nullptr) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) { sums[r][v] += LoadWhole(epilogue.addend + r * y_step + v * kLanes); }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      float* const place = PlaceOf<result>(y, y_step, r, v);
      is_part ? StorePart(sums[r][v], place, part) : StoreWhole(sums[r][v], place);
    }
  }
}

// The tile of the first `count` rows, at most `rows`.
template<int rows, int vectors, Along along, Result result, bool is_part>
void TileOf(int64_t count, const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t inner,
            const Epilogue& epilogue, float* y, int64_t y_step, Upcoming::Lines fetch, int64_t part) {
  if constexpr (rows > 1) {
    if (count < rows) {
      return TileOf<rows - 1, vectors, along, result, is_part>(count, a, a_step, b, b_step, inner, epilogue, y, y_step,
                                                               fetch, part);
    }
  }
  Tile<rows, vectors, along, result, is_part>(a, a_step, b, b_step, inner, epilogue, y, y_step, fetch, part);
}

// Transposes a square of kLanes vectors: each pass interleaves the halves of the list.
INSIGHTFACE_INLINE void Transpose(Vector* rows) {
  Words low, high;
  for (int i = 0; i < kLanes; ++i) {
    low[i] = static_cast<uint32_t>(i / 2 + i % 2 * kLanes);
    high[i] = low[i] + kLanes / 2;
  }
  for (int pass = 1; pass < kLanes; pass *= 2) {
    Vector next[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], high);
    }
    for (int i = 0; i < kLanes; ++i) { rows[i] = next[i]; }
  }
}

// The numbers from `from` on, of which `there` are there; zeros behind them.
INSIGHTFACE_INLINE Vector LoadThere(const float* from, int64_t there) {
  return there >= kLanes ? LoadWhole(from) : there > 0 ? LoadPart(from, there) : Vector{};
}

void Pack(const WeightMatrix& m, int64_t first, int64_t last, void* packed) {
  for (int64_t column = first; column < last; column += kLanes) {
    const int64_t panel = column / kTileColumns * kTileColumns;
    float* const to = static_cast<float*>(packed) + panel * m.inner + column - panel;
    if (m.column_step == 1) {
      for (int64_t k = 0; k < m.inner; ++k) {
        StoreWhole(LoadThere(m.weights + k * m.inner_step + column, m.columns - column), to + k * kTileColumns);
      }
      continue;
    }
    for (int64_t k = 0; k < m.inner; k += kLanes) {
      Vector square[kLanes];
      for (int64_t n = 0; n < kLanes; ++n) {
        const float* const row = m.weights + (column + n) * m.column_step;
        square[n] = column + n < m.columns ? LoadThere(row + k, m.inner - k) : Vector{};
      }
      Transpose(square);
      for (int64_t i = 0; i < kLanes && k + i < m.inner; ++i) { StoreWhole(square[i], to + (k + i) * kTileColumns); }
    }
  }
}

// Columns of a tile that y lacks are computed beside it, as the packed matrix has zeros there.
void MultiplyPart(int64_t count, const float* x, int64_t inner, const float* panel, int64_t columns,
                  const Epilogue& epilogue, float* y, int64_t y_step) {
  float whole[kTileRows * kTileColumns];
  TileOf<kTileRows, kTileVectors, Along::kInner, Result::kRows, false>(count, x, inner, panel, kTileColumns, inner, {},
                                                                       whole, kTileColumns, {}, 0);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t n = 0; n < columns; ++n) {
      float* const place = y + r * y_step + n;
      float value = whole[r * kTileColumns + n];
      if (epilogue.adds) { value += *place; }
      if (epilogue.bias != nullptr) {
        value += epilogue.bias[n];
        if (epilogue.slope != nullptr && !(value > 0)) { value *= epilogue.slope[n]; }
        if (epilogue.addend != nullptr) { value += epilogue.addend[r * y_step + n]; }
      }
      *place = value;
    }
  }
}

void Multiply(const float* x, int64_t rows, int64_t inner, const void* packed, int64_t columns,
              const Epilogue& epilogue, float* y, Upcoming* upcoming) {
  int64_t tiles = columns / kTileColumns * ((rows + kTileRows - 1) / kTileRows);
  for (int64_t n = 0; n < columns; n += kTileColumns) {
    const float* const panel = static_cast<const float*>(packed) + n * inner;
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const float* const a = x + row * inner;
      const int64_t place = row * columns + n, count = rows - row < kTileRows ? rows - row : kTileRows;
      const Epilogue own = At(epilogue, place, n);
      if (columns - n < kTileColumns) {
        MultiplyPart(count, a, inner, panel, columns - n, own, y + place, columns);
      } else {
        TileOf<kTileRows, kTileVectors, Along::kInner, Result::kRows, false>(
            count, a, inner, panel, kTileColumns, inner, own, y + place, columns, upcoming->Take(tiles--, inner), 0);
      }
    }
  }
}

void MultiplyToPlanes(const float* x, int64_t rows, int64_t inner, const void* packed, int64_t column,
                      const PlaneSums& sums) {
  const float* const panel = static_cast<const float*>(packed) + column * inner;
  for (int64_t row = 0; row < rows; row += kTileRows) {
    TileOf<kTileRows, kTileVectors, Along::kInner, Result::kPlanes, false>(
        rows - row, x + row * inner, inner, panel, kTileColumns, inner, {false, sums.bias, sums.slope},
        sums.planes + row * kLanes, sums.step, {}, 0);
  }
}

void AddOuter(const float* dy, const float* x, int64_t rows, int64_t filters, int64_t channels, float* sums,
              void*, Upcoming* upcoming) {
  const Epilogue add{true};
  int64_t tiles = channels / kTileColumns * ((filters + kOuterRows - 1) / kOuterRows);
  int64_t c = 0;
  for (; c + kTileColumns <= channels; c += kTileColumns) {
    for (int64_t f = 0; f < filters; f += kOuterRows) {
      TileOf<kOuterRows, kTileVectors, Along::kRows, Result::kRows, false>(
          filters - f, dy + f, filters, x + c, channels, rows, add, sums + f * channels + c, channels,
          upcoming->Take(tiles--, rows), 0);
    }
  }
  for (; c < channels; c += kLanes) {
    const int64_t part = channels - c;
    const auto tile = part < kLanes ? TileOf<kOuterRows, 1, Along::kRows, Result::kRows, true>
                                    : TileOf<kOuterRows, 1, Along::kRows, Result::kRows, false>;
    for (int64_t f = 0; f < filters; f += kOuterRows) {
      tile(filters - f, dy + f, filters, x + c, channels, rows, add, sums + f * channels + c, channels, {}, part);
    }
  }
}

}  // namespace

const PointwiseProducts<float> kPointwiseProducts = {Pack, Multiply, AddOuter, MultiplyToPlanes, kTileColumns};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
