#include "network/arithmetic/block_sums.h"

#include "base/parallel.h"
#include "network/arithmetic/channel_rows.h"

namespace insightface {

void BlockSums::Reset(int64_t numbers) {
  numbers_ = numbers;
  parts_.resize(MostParts());
  for (Sums& part : parts_) { part.total.clear(); }
}

std::vector<double> BlockSums::Total() const {
  std::vector<double> sums(numbers_, 0.0);
  for (const Sums& part : parts_) {
    for (size_t i = 0; i < part.total.size(); ++i) { sums[i] += part.total[i]; }
  }
  return sums;
}

void BlockMoments::Reset(int64_t channels) {
  channels_ = channels;
  sums_.Reset(2 * channels);
  origins_.resize(MostParts());
  for (Origin& origin : origins_) { origin.rows = 0; }
}

template<typename T>
void BlockMoments::AddBlockOf(const T* x, int64_t rows, int part) {
  Origin& origin = origins_[part];
  if (origin.rows == 0) {
    origin.row.resize(channels_);
    for (int64_t c = 0; c < channels_; ++c) { origin.row[c] = Load(x[c]); }
  }
  origin.rows += rows;
  sums_.AddBlock(part, [&](float* sums) {
    kChannelRows.Of<T>().AddMoments(x, rows, channels_, origin.row.data(), sums, sums + channels_);
  });
}

template void BlockMoments::AddBlockOf(const float*, int64_t, int);
template void BlockMoments::AddBlockOf(const BFloat16*, int64_t, int);

template<typename Visit>
void BlockMoments::ForParts(int64_t channel, const Visit& visit) const {
  for (size_t i = 0; i < origins_.size(); ++i) {
    if (origins_[i].rows == 0) { continue; }
    const std::vector<double>& sums = sums_.OfPart(static_cast<int>(i));
    visit(static_cast<double>(origins_[i].rows), origins_[i].row[channel], sums[channel], sums[channels_ + channel]);
  }
}

Moments BlockMoments::OfChannel(int64_t channel) const {
  double count = 0, total = 0, squares = 0;
  ForParts(channel, [&](double rows, double origin, double sum, double) {
    count += rows;
    total += rows * origin + sum;
  });
  const double mean = total / count;
  ForParts(channel, [&](double rows, double origin, double sum, double square) {
    const double offset = origin - mean;
    squares += square + 2 * offset * sum + rows * offset * offset;
  });
  return {mean, std::max(0.0, squares / count)};
}

}  // namespace insightface
