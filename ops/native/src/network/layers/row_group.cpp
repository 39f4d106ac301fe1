#include "network/layers/row_group.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "base/prepared.h"

namespace insightface {
namespace {

// The numbers that fit a thread's second level cache.
constexpr int64_t kCachedNumbers = 192 * 1024;

// The rows of a block if no stage demands a size.
int64_t DefaultBlock(int64_t rows, int64_t width) {
  constexpr int64_t kLeast = 64, kMost = 256;
  const int64_t threads = omp_get_max_threads();
  return std::min(std::clamp(kCachedNumbers / width, kLeast, kMost), (rows + threads - 1) / threads);
}

}  // namespace

int64_t ChooseBlock(int64_t rows, int64_t width) {
  constexpr int64_t kLeast = 49, kMost = 512;
  constexpr double kLeastBusy = 0.8;
  const int64_t threads = omp_get_max_threads();
  const int64_t wanted = std::clamp(kCachedNumbers / width, kLeast, kMost);
  int64_t best = 0;
  for (int64_t block = kLeast; block <= std::min(kMost, rows); ++block) {
    if (rows % block != 0) { continue; }
    const int64_t blocks = rows / block, turns = (blocks + threads - 1) / threads;
    const bool busy = static_cast<double>(blocks) >= kLeastBusy * static_cast<double>(turns * threads);
    const auto distance = [&](int64_t other) { return std::max(other, wanted) * 100 / std::min(other, wanted); };
    if (busy && (best == 0 || distance(block) < distance(best))) { best = block; }
  }
  return best;
}

bool RowGroup::Accepts(const RowStage& stage) const {
  if (stages_.empty()) { return true; }
  const RowStage& last = stages_.back();
  if (last.reduces || stage.gathers || last.rows != stage.rows) { return false; }
  return std::all_of(stages_.begin(), stages_.end(), [&](const RowStage& other) {
    return other.block == 0 || stage.block == 0 || other.block == stage.block;
  });
}

void RowGroup::Add(const RowStage& stage) { stages_.push_back(stage); }

void RowGroup::Run(const ExecutionContext& context) const {
  char* scratch = context.scratch;
  int64_t block = 0, width = 0;
  for (const RowStage& stage : stages_) {
    block = std::max(block, stage.block);
    width += stage.width;
    if (stage.begin) { stage.begin(context, scratch); }
    scratch += AlignedSize(stage.scratch_bytes);
  }
  const int64_t rows = stages_.front().rows;
  if (block == 0) { block = DefaultBlock(rows, width); }
  ParallelRows((rows + block - 1) / block, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      for (const RowStage& stage : stages_) { stage.work(context, i * block, std::min(rows, (i + 1) * block), thread); }
    }
  });
  for (const RowStage& stage : stages_) {
    if (stage.end) { stage.end(context); }
  }
}

int64_t RowGroup::ScratchBytes() const {
  int64_t bytes = 0;
  for (const RowStage& stage : stages_) { bytes += AlignedSize(stage.scratch_bytes); }
  return bytes;
}

}  // namespace insightface
