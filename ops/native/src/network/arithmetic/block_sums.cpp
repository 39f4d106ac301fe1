#include "network/arithmetic/block_sums.h"

#include <omp.h>

#include "network/arithmetic/channel_rows.h"

namespace insightface {

void BlockSums::Reset(int64_t numbers) {
  threads_.resize(omp_get_max_threads());
  for (Thread& thread : threads_) {
    thread.part.resize(numbers);
    thread.total.assign(numbers, 0.0);
  }
}

std::vector<double> BlockSums::Total() const {
  std::vector<double> sums(threads_.front().total.size(), 0.0);
  for (const Thread& thread : threads_) {
    for (size_t i = 0; i < sums.size(); ++i) { sums[i] += thread.total[i]; }
  }
  return sums;
}

void BlockMoments::Reset(int64_t channels) {
  channels_ = channels;
  sums_.Reset(2 * channels);
  threads_.resize(omp_get_max_threads());
  for (Thread& thread : threads_) { thread.rows = 0; }
}

template<typename T>
void BlockMoments::AddBlockOf(const T* x, int64_t rows, int thread) {
  Thread& own = threads_[thread];
  if (own.rows == 0) {
    own.origin.resize(channels_);
    for (int64_t c = 0; c < channels_; ++c) { own.origin[c] = Load(x[c]); }
  }
  own.rows += rows;
  sums_.AddBlock(thread, [&](float* part) {
    kChannelRows.Of<T>().AddMoments(x, rows, channels_, own.origin.data(), part, part + channels_);
  });
}

template void BlockMoments::AddBlockOf(const float*, int64_t, int);
template void BlockMoments::AddBlockOf(const BFloat16*, int64_t, int);

template<typename Visit>
void BlockMoments::ForThreads(int64_t channel, const Visit& visit) const {
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].rows == 0) { continue; }
    const std::vector<double>& sums = sums_.OfThread(static_cast<int>(i));
    visit(static_cast<double>(threads_[i].rows), threads_[i].origin[channel], sums[channel], sums[channels_ + channel]);
  }
}

Moments BlockMoments::OfChannel(int64_t channel) const {
  double count = 0, total = 0, squares = 0;
  ForThreads(channel, [&](double rows, double origin, double sum, double) {
    count += rows;
    total += rows * origin + sum;
  });
  const double mean = total / count;
  ForThreads(channel, [&](double rows, double origin, double sum, double square) {
    const double offset = origin - mean;
    squares += square + 2 * offset * sum + rows * offset * offset;
  });
  return {mean, std::max(0.0, squares / count)};
}

}  // namespace insightface
