// Divides rows among the threads of a team.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

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

// A contiguous part of rows, number `number` of all parts, and the thread that computes it.
struct Part {
  int64_t begin, end;
  int number, thread;
};

// The parts of ParallelParts, at most.
inline int MostParts() {
  constexpr int kOfThread = 4;
  return kOfThread * omp_get_max_threads();
}

// Calls work(part) for parts of `count` rows. Every thread takes its own parts in their order, then those that other
// threads have not begun: no thread waits long for one that other programs hold up. Which rows a part has does not depend
// on that, so sums by part are the same at every call.
template<typename Work>
void ParallelParts(int64_t count, const Work& work) {
  struct alignas(64) Queue {
    std::atomic<int64_t> next;
    int64_t end;
  };
  const int64_t threads = omp_get_max_threads(), parts = std::min<int64_t>(count, MostParts());
  std::vector<Queue> queues(threads);
  for (int64_t i = 0; i < threads; ++i) {
    queues[i].next = parts * i / threads;
    queues[i].end = parts * (i + 1) / threads;
  }
#pragma omp parallel
  {
    const int own = omp_get_thread_num();
    for (int64_t i = 0; i < threads; ++i) {
      Queue& queue = queues[(own + i) % threads];
      for (int64_t part = queue.next++; part < queue.end; part = queue.next++) {
        work(Part{count * part / parts, count * (part + 1) / parts, static_cast<int>(part), own});
      }
    }
  }
}

// Divides `count` rows into blocks of at most `most`, equally many for each thread, and calls work(begin, end, thread) for
// each block on any thread, as ParallelParts does.
template<typename Work>
void ParallelBlocks(int64_t count, int64_t most, const Work& work) {
  const int64_t threads = omp_get_max_threads(), turns = (count + threads * most - 1) / (threads * most);
  const int64_t blocks = std::min(turns * threads, count);
  ParallelParts(blocks, [&](const Part& part) {
    for (int64_t b = part.begin; b < part.end; ++b) { work(count * b / blocks, count * (b + 1) / blocks, part.thread); }
  });
}

}  // namespace insightface
