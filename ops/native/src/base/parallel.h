// Divides rows among the threads of a team.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace insightface {

// The contiguous part of `count` rows that the calling thread of a team computes, the same at every call.
struct Share {
  explicit Share(int64_t count)
      : begin(count * omp_get_thread_num() / omp_get_num_threads()),
        end(count * (omp_get_thread_num() + 1) / omp_get_num_threads()) {}
  const int64_t begin, end;
};

// Calls work(begin, end, thread) on every thread with its share of `count` rows.
template<typename Work>
void ParallelRows(int64_t count, const Work& work) {
#pragma omp parallel
  {
    const Share share(count);
    if (share.begin < share.end) { work(share.begin, share.end, omp_get_thread_num()); }
  }
}

}  // namespace insightface
