#include "class_rows/row_products.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "base/call_counts.h"
#include "base/lru_cache.h"
#include "base/onednn.h"
#include "base/parallel.h"
#include "base/team.h"
#include "base/thread_product.h"

namespace insightface {
namespace {

// Rows that a thread works at together: they, their gradients and the sums of the vectors' fit its second cache.
constexpr int64_t kMostRows = 128;
constexpr int64_t kLeastRows = 16;
constexpr size_t kCachedPlans = 64;

// The products of a block of rows, by one thread.
struct Plan {
  Plan(int64_t block, int64_t batch, int64_t width)
      : block(block),
        scores(block, width, batch, SecondFactor::kFixedTransposed, false),
        row_gradients(block, batch, width, SecondFactor::kFixed, false),
        vector_gradients(batch, block, width, SecondFactor::kChanges, true) {}

  const int64_t block;
  const ThreadProduct scores;            // rows [block, width] times vectors, transposed
  const ThreadProduct row_gradients;     // gradients of the products [block, batch] times vectors
  const ThreadProduct vector_gradients;  // gradients of the products [batch, block] times rows, added up
};

int64_t BlockSize(int64_t slots) {
  const int64_t share = (slots + ThreadCount() - 1) / ThreadCount();
  return std::min(kMostRows, (share + kLeastRows - 1) / kLeastRows * kLeastRows);
}

std::shared_ptr<const Plan> FindPlan(int64_t slots, int64_t batch, int64_t width) {
  static LruCache<std::string, Plan, std::hash<std::string>> plans(kCachedPlans);
  const int64_t block = BlockSize(slots);
  const std::string key = std::to_string(block) + ' ' + std::to_string(batch) + ' ' + std::to_string(width);
  return plans.Get(key, [&] { return std::make_shared<const Plan>(block, batch, width); });
}

// A thread's memory for one kind of block, uninitialised.
class Scratch {
 public:
  explicit Scratch(int64_t floats, int64_t arrays)
      : memory_(nullptr, 0, floats * sizeof(float) + (arrays + 1) * Workspace::kAlignment) {}
  float* Take(int64_t floats) { return static_cast<float*>(memory_.Take(floats * sizeof(float))); }

 private:
  Workspace memory_;
};

int64_t InFloats(int64_t bytes) { return (bytes + sizeof(float) - 1) / sizeof(float); }

INSIGHTFACE_VECTORISED float SquareSum(const float* row, int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) { sum += row[i] * row[i]; }
  return sum;
}

// target[c][r] = source[r][c] for a matrix of `rows` and `columns` in one piece; target rows lie `step` apart.
INSIGHTFACE_VECTORISED void Transpose(const float* source, int64_t rows, int64_t columns, float* target, int64_t step) {
  for (int64_t c = 0; c < columns; ++c) {
#pragma omp simd
    for (int64_t r = 0; r < rows; ++r) { target[c * step + r] = source[r * columns + c]; }
  }
}

INSIGHTFACE_VECTORISED void MultiplyPointwise(const float* a, const float* b, int64_t count, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { result[i] = a[i] * b[i]; }
}

// The gradient of a row x that was used as x * scale, from that of x * scale times scale, where scale is 1 / |x|.
INSIGHTFACE_VECTORISED void UnitGradient(const float* row, const float* scaled, int64_t width, float scale,
                                         float* gradient) {
  float along = 0;
#pragma omp simd reduction(+ : along)
  for (int64_t i = 0; i < width; ++i) { along += row[i] * scaled[i]; }
  along *= scale * scale;
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { gradient[i] = scaled[i] - row[i] * along; }
}

INSIGHTFACE_VECTORISED void AddArrays(const float* first, int64_t arrays, int64_t step, int64_t count, float* sum) {
  std::copy_n(first, count, sum);
  for (int64_t a = 1; a < arrays; ++a) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) { sum[i] += first[a * step + i]; }
  }
}

// Some consecutive rows of the choice, in one piece.
class Block {
 public:
  Block(const RowsInPlace& choice, int64_t first, int64_t size, float* room)
      : used(std::clamp<int64_t>(choice.count - first, 0, size)) {
    if (choice.indices == nullptr && used == size) {
      rows = choice.matrix + first * choice.width;
      return;
    }
    const int64_t bytes = choice.width * static_cast<int64_t>(sizeof(float));
    for (int64_t i = 0; i < used; ++i) {
      if (first + i + kAhead < choice.count) { Announce(choice, first + i + kAhead); }
      std::memcpy(room + i * choice.width, Find(choice, first + i), bytes);
    }
    std::memset(room + used * choice.width, 0, (size - used) * bytes);
    rows = room;
  }

  const int64_t used;  // rows beyond those are zero
  const float* rows;   // [size, width]

 private:
  // The rows lie anywhere: the processor is told of one while it works at another.
  static constexpr int64_t kAhead = 4;

  static const float* Find(const RowsInPlace& choice, int64_t i) {
    return choice.matrix + (choice.indices == nullptr ? i : choice.indices[i]) * choice.width;
  }

  static void Announce(const RowsInPlace& choice, int64_t i) {
    constexpr int64_t kLine = 16;  // numbers of a cache line
    const float* const row = Find(choice, i);
    for (int64_t n = 0; n < choice.width; n += kLine) { __builtin_prefetch(row + n); }
  }
};

// What a row is multiplied by: 1 over its length, or 1 without an epsilon.
struct Scales {
  Scales(const float* rows, int64_t count, int64_t width, float epsilon) {
    for (int64_t i = 0; i < count; ++i) {
      const float sum = epsilon > 0 ? SquareSum(rows + i * width, width) : 1;
      depends_on_row[i] = epsilon > 0 && sum >= epsilon;
      values[i] = 1 / std::sqrt(std::max(sum, epsilon));
    }
  }
  float values[kMostRows];
  bool depends_on_row[kMostRows];
};

}  // namespace

void MultiplyRows(const RowsInPlace& rows, const RowVectors& vectors, int64_t slots, float epsilon, float* products) {
  const int64_t batch = vectors.batch, width = rows.width;
  const auto plan = FindPlan(slots, batch, width);
  const int64_t size = plan->block;
  const AlignedBytes fixed = plan->scores.Prepare(vectors.values);
  ParallelRows((slots + size - 1) / size, [&](int64_t begin, int64_t end, int) {
    const int64_t own_scratch = InFloats(plan->scores.ScratchBytes());
    Scratch scratch(size * (width + batch) + own_scratch, 3);
    float* const room = scratch.Take(size * width);
    float* const scores = scratch.Take(size * batch);
    float* const for_product = scratch.Take(own_scratch);
    for (int64_t first = begin * size; first < std::min(end * size, slots); first += size) {
      const Block block(rows, first, size, room);
      const int64_t columns = std::min(size, slots - first);
      plan->scores.Run(block.rows, fixed.data(), scores, for_product);
      Transpose(scores, columns, batch, products + first, slots);
      if (epsilon <= 0) { continue; }
      const Scales scales(block.rows, size, width, epsilon);
      for (int64_t i = 0; i < batch; ++i) {
        float* const part = products + i * slots + first;
        MultiplyPointwise(part, scales.values, columns, part);
      }
    }
  });
}

void MultiplyRowsGrad(const RowsInPlace& rows, const RowVectors& vectors, int64_t slots, float epsilon,
                      const float* product_gradients, float* vector_gradients) {
  const int64_t batch = vectors.batch, width = rows.width, sums_size = batch * width;
  const auto plan = FindPlan(slots, batch, width);
  const int64_t size = plan->block, threads = omp_get_max_threads();
  const AlignedBytes fixed = plan->row_gradients.Prepare(vectors.values);
  const std::unique_ptr<float[]> sums(new float[threads * sums_size]());
  ParallelRows((slots + size - 1) / size, [&](int64_t begin, int64_t end, int thread) {
    const int64_t own_scratch =
        InFloats(std::max(plan->row_gradients.ScratchBytes(), plan->vector_gradients.ScratchBytes()));
    Scratch scratch(2 * size * (width + batch) + own_scratch, 5);
    float* const room = scratch.Take(size * width);
    float* const scaled_rows = scratch.Take(size * width);
    float* const scaled = scratch.Take(size * batch);
    float* const transposed = scratch.Take(size * batch);
    float* const for_product = scratch.Take(own_scratch);
    for (int64_t first = begin * size; first < std::min(end * size, slots); first += size) {
      const Block block(rows, first, size, room);
      if (block.used == 0) { continue; }
      const Scales scales(block.rows, size, width, epsilon);
      for (int64_t i = 0; i < batch; ++i) {
        MultiplyPointwise(product_gradients + i * slots + first, scales.values, block.used, scaled + i * size);
        std::fill(scaled + i * size + block.used, scaled + (i + 1) * size, 0.0f);
      }
      plan->vector_gradients.Run(scaled, block.rows, sums.get() + thread * sums_size, for_product);
      Transpose(scaled, batch, size, transposed, batch);
      plan->row_gradients.Run(transposed, fixed.data(), scaled_rows, for_product);
      for (int64_t i = 0; i < block.used; ++i) {
        float* const gradient = rows.gradients + (first + i) * width;
        if (scales.depends_on_row[i]) {
          UnitGradient(block.rows + i * width, scaled_rows + i * width, width, scales.values[i], gradient);
        } else {
          std::copy_n(scaled_rows + i * width, width, gradient);
        }
      }
    }
  });
  ParallelRows(sums_size, [&](int64_t begin, int64_t end, int) {
    AddArrays(sums.get() + begin, threads, sums_size, end - begin, vector_gradients + begin);
  });
}

}  // namespace insightface
