#include "class_rows/row_products.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "base/alignment.h"
#include "base/array_loops.h"
#include "base/lru_cache.h"
#include "base/onednn.h"
#include "base/parallel.h"
#include "base/team.h"
#include "base/thread_product.h"
#include "class_rows/class_row_loops.h"
#include "class_rows/prefetch.h"

namespace insightface {
namespace {

// Rows that a thread computes together: they, their gradients and the sums of the vectors' gradients fit its second
// level cache.
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

std::shared_ptr<const Plan> GetPlan(int64_t slots, int64_t batch, int64_t width) {
  static LruCache<std::string, Plan, std::hash<std::string>> plans(kCachedPlans);
  const int64_t block = BlockSize(slots);
  const std::string key = std::to_string(block) + ' ' + std::to_string(batch) + ' ' + std::to_string(width);
  return plans.Get(key, [&] { return std::make_shared<const Plan>(block, batch, width); });
}

// A thread's memory for one kind of block, not initialised.
class Scratch {
 public:
  explicit Scratch(int64_t floats, int64_t arrays)
      : memory_(nullptr, 0, floats * sizeof(float) + (arrays + 1) * kAlignment) {}
  float* Allocate(int64_t floats) { return static_cast<float*>(memory_.Allocate(floats * sizeof(float))); }

 private:
  Workspace memory_;
};

int64_t InFloats(int64_t bytes) { return (bytes + sizeof(float) - 1) / sizeof(float); }

// Some consecutive rows of the handle, in one piece of memory.
class Block {
 public:
  Block(const RowsHandle& handle, int64_t first, int64_t size, float* copies)
      : used(std::clamp<int64_t>(handle.count - first, 0, size)) {
    if (handle.indices == nullptr && used == size && !handle.is_bfloat16) {
      rows = Row<float>(handle, first);
      return;
    }
    if (handle.is_bfloat16) {
      CopyRows<BFloat16>(handle, first, copies);
    } else {
      CopyRows<float>(handle, first, copies);
    }
    std::fill(copies + used * handle.width, copies + size * handle.width, 0.0f);
    rows = copies;
  }

  const int64_t used;  // later rows are zero
  const float* rows;   // [size, width]

 private:
  template<typename T>
  static const T* Row(const RowsHandle& handle, int64_t i) {
    return static_cast<const T*>(handle.matrix) + (handle.indices == nullptr ? i : handle.indices[i]) * handle.width;
  }

  template<typename T>
  void CopyRows(const RowsHandle& handle, int64_t first, float* copies) const {
    for (int64_t i = 0; i < used; ++i) {
      if (first + i + kRowsAhead < handle.count) { PrefetchRow(Row<T>(handle, first + i + kRowsAhead), handle.width); }
      CopyRow(Row<T>(handle, first + i), handle.width, copies + i * handle.width);
    }
  }

  static void CopyRow(const float* row, int64_t width, float* copy) { std::memcpy(copy, row, width * sizeof(float)); }
  static void CopyRow(const BFloat16* row, int64_t width, float* copy) { kArrayLoops.Widen(row, copy, width); }
};

// The factor of each row: 1 / its length, or 1 without an epsilon.
struct Scales {
  Scales(const float* rows, int64_t count, int64_t width, float epsilon) {
    for (int64_t i = 0; i < count; ++i) {
      const float sum = epsilon > 0 ? kClassRowLoops.SquareSum(rows + i * width, width) : 1;
      depends_on_row[i] = epsilon > 0 && sum >= epsilon;
      values[i] = 1 / std::sqrt(std::max(sum, epsilon));
    }
  }
  float values[kMostRows];
  bool depends_on_row[kMostRows];
};

}  // namespace

void MultiplyRows(const RowsHandle& rows, const RowVectors& vectors, int64_t slots, float epsilon, float* products) {
  const int64_t batch = vectors.batch, width = rows.width;
  const auto plan = GetPlan(slots, batch, width);
  const int64_t size = plan->block;
  const AlignedBytes fixed = plan->scores.Prepare(vectors.values);
  ParallelRows((slots + size - 1) / size, [&](int64_t begin, int64_t end, int) {
    const int64_t own_scratch = InFloats(plan->scores.ScratchBytes());
    Scratch scratch(size * (width + batch) + own_scratch, 3);
    float* const copies = scratch.Allocate(size * width);
    float* const scores = scratch.Allocate(size * batch);
    float* const for_product = scratch.Allocate(own_scratch);
    for (int64_t first = begin * size; first < std::min(end * size, slots); first += size) {
      const Block block(rows, first, size, copies);
      const int64_t columns = std::min(size, slots - first);
      plan->scores.Run(block.rows, fixed.data(), scores, for_product);
      kClassRowLoops.Transpose(scores, columns, batch, products + first, slots);
      if (epsilon <= 0) { continue; }
      const Scales scales(block.rows, size, width, epsilon);
      for (int64_t i = 0; i < batch; ++i) {
        float* const part = products + i * slots + first;
        kClassRowLoops.Multiply(part, scales.values, columns, part);
      }
    }
  });
}

void MultiplyRowsGrad(const RowsHandle& rows, const RowVectors& vectors, int64_t slots, float epsilon,
                      const float* product_gradients, float* vector_gradients) {
  const int64_t batch = vectors.batch, width = rows.width, sums_size = batch * width;
  const auto plan = GetPlan(slots, batch, width);
  const int64_t size = plan->block, threads = omp_get_max_threads();
  const AlignedBytes fixed = plan->row_gradients.Prepare(vectors.values);
  const std::unique_ptr<float[]> sums(new float[threads * sums_size]());
  ParallelRows((slots + size - 1) / size, [&](int64_t begin, int64_t end, int thread) {
    const int64_t own_scratch =
        InFloats(std::max(plan->row_gradients.ScratchBytes(), plan->vector_gradients.ScratchBytes()));
    Scratch scratch(2 * size * (width + batch) + own_scratch, 5);
    float* const copies = scratch.Allocate(size * width);
    float* const scaled_rows = scratch.Allocate(size * width);
    float* const scaled = scratch.Allocate(size * batch);
    float* const transposed = scratch.Allocate(size * batch);
    float* const for_product = scratch.Allocate(own_scratch);
    for (int64_t first = begin * size; first < std::min(end * size, slots); first += size) {
      const Block block(rows, first, size, copies);
      if (block.used == 0) { continue; }
      const Scales scales(block.rows, size, width, epsilon);
      for (int64_t i = 0; i < batch; ++i) {
        kClassRowLoops.Multiply(product_gradients + i * slots + first, scales.values, block.used, scaled + i * size);
        std::fill(scaled + i * size + block.used, scaled + (i + 1) * size, 0.0f);
      }
      plan->vector_gradients.Run(scaled, block.rows, sums.get() + thread * sums_size, for_product);
      kClassRowLoops.Transpose(scaled, batch, size, transposed, batch);
      plan->row_gradients.Run(transposed, fixed.data(), scaled_rows, for_product);
      for (int64_t i = 0; i < block.used; ++i) {
        float* const gradient = rows.gradients + (first + i) * width;
        if (scales.depends_on_row[i]) {
          kClassRowLoops.UnitGradient(block.rows + i * width, scaled_rows + i * width, width, scales.values[i],
                                      gradient);
        } else {
          std::copy_n(scaled_rows + i * width, width, gradient);
        }
      }
    }
  });
  ParallelRows(sums_size, [&](int64_t begin, int64_t end, int) {
    kClassRowLoops.AddArrays(sums.get() + begin, threads, sums_size, end - begin, vector_gradients + begin);
  });
}

}  // namespace insightface
