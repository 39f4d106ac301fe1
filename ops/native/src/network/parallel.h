// Deals out rows to the threads of a team.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace insightface {

// Calls work(begin, end, thread) on every thread with its contiguous share of `count` rows, the same at every call.
template<typename Work>
void ParallelRows(int64_t count, const Work& work) {
#pragma omp parallel
  {
    const int64_t threads = omp_get_num_threads();
    const int64_t thread = omp_get_thread_num();
    const int64_t begin = count * thread / threads;
    const int64_t end = count * (thread + 1) / threads;
    if (begin < end) { work(begin, end, static_cast<int>(thread)); }
  }
}

}  // namespace insightface
