#include "network/layers/row_group.h"

#include <algorithm>

#include "base/alignment.h"
#include "base/parallel.h"
#include "network/arithmetic/matrix_unit.h"

namespace insightface {
namespace {

// The numbers that fit a thread's second level cache.
constexpr int64_t kCachedNumbers = 192 * 1024;

// The rows of a block if no stage demands a size: equally many blocks for each thread.
int64_t DefaultBlock(int64_t rows, int64_t width) {
  constexpr int64_t kLeast = 64, kMost = 256;
  // Tiles of matrix products have 4 or 6 rows.
  constexpr int64_t kWholeTiles = 12;
  const int64_t threads = omp_get_max_threads();
  const int64_t most = std::clamp(kCachedNumbers / width, kLeast, kMost);
  const int64_t turns = (rows + most * threads - 1) / (most * threads);
  const int64_t block = (rows + turns * threads - 1) / (turns * threads);
  return (block + kWholeTiles - 1) / kWholeTiles * kWholeTiles;
}

}  // namespace

bool RowGroup::Accepts(const RowStage& stage) const {
  if (stages_.empty()) { return true; }
  const RowStage& last = stages_.back();
  if (last.reduces || stage.gathers || last.rows != stage.rows) { return false; }
  return std::all_of(stages_.begin(), stages_.end(), [&](const RowStage& other) {
    return other.block == 0 || stage.block == 0 || other.block == stage.block;
  });
}

void RowGroup::Add(const RowStage& stage) { stages_.push_back(stage); }

int64_t RowGroup::Block() const {
  int64_t block = 0, width = 0;
  for (const RowStage& stage : stages_) {
    block = std::max(block, stage.block);
    width += stage.width;
  }
  return block > 0 ? block : DefaultBlock(Rows(), width);
}

int64_t RowGroup::HeldBytes(const RowMap& map) const {
  return omp_get_max_threads() * AlignedSize(Block() * map.row_bytes);
}

// What the stages read of maps that other groups have written.
std::vector<RowMap> RowGroup::Reads() const {
  std::vector<RowMap> reads;
  for (const RowStage& stage : stages_) {
    if (!stage.reads) { continue; }
    for (const RowMap& map : stage.reads()) {
      const auto same = [&](const RowMap& other) {
        return other.value == map.value && other.is_gradient == map.is_gradient;
      };
      if (std::none_of(held_.begin(), held_.end(), same) && std::none_of(reads.begin(), reads.end(), same)) {
        reads.push_back(map);
      }
    }
  }
  return reads;
}

void RowGroup::Run(const ExecutionContext& whole) const {
  char* scratch = whole.scratch;
  for (const RowStage& stage : stages_) {
    if (stage.begin) { stage.begin(whole, scratch); }
    scratch += AlignedSize(stage.scratch_bytes);
  }
  const int64_t rows = Rows(), block = Block();
  const std::vector<RowMap> reads = Reads();
  const auto address = [](const RowMap& map, const std::vector<void*>& values, const std::vector<void*>& gradients) {
    return static_cast<char*>((map.is_gradient ? gradients : values)[map.value]);
  };
  ParallelParts((rows + block - 1) / block, [&](const Part& part) {
    const MatrixUnitHold hold;
    // The maps as this thread sees them: row `first` of a held map is where its block is.
    std::vector<void*> values = *whole.values, gradients = *whole.gradients;
    Upcoming upcoming;
    ExecutionContext context = whole;
    context.values = &values;
    context.gradients = &gradients;
    context.upcoming = &upcoming;
    for (int64_t i = part.begin; i < part.end; ++i) {
      const int64_t first = i * block, last = std::min(rows, first + block), next = std::min(rows, last + block);
      for (const RowMap& map : held_) {
        char* const memory = address(map, *whole.values, *whole.gradients) +
                             part.thread * AlignedSize(block * map.row_bytes);
        (map.is_gradient ? gradients : values)[map.value] = memory - first * map.row_bytes;
      }
      upcoming.Clear();
      for (const RowMap& map : reads) {
        if (next > last) {
          upcoming.Add(address(map, values, gradients) + last * map.row_bytes, (next - last) * map.row_bytes);
        }
      }
      for (const RowStage& stage : stages_) { stage.work(context, first, last, part); }
    }
  });
  for (const RowStage& stage : stages_) {
    if (stage.end) { stage.end(whole); }
  }
}

int64_t RowGroup::ScratchBytes() const {
  int64_t bytes = 0;
  for (const RowStage& stage : stages_) { bytes += AlignedSize(stage.scratch_bytes); }
  return bytes;
}

}  // namespace insightface
