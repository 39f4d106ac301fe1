#include "base/team.h"

#include <omp.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

// Of ops/runtime/patches/patient_scheduler.c; null where OneFlow is not patched.
extern "C" __attribute__((weak)) void insightface_work_begins();
extern "C" __attribute__((weak)) void insightface_work_ends();

namespace insightface {
namespace {

// Tells OneFlow's scheduler to sleep while it exists.
class AnnouncedWork {
 public:
  AnnouncedWork() {
    if (insightface_work_begins != nullptr) { insightface_work_begins(); }
  }
  ~AnnouncedWork() {
    if (insightface_work_ends != nullptr) { insightface_work_ends(); }
  }
  AnnouncedWork(const AnnouncedWork&) = delete;
  AnnouncedWork& operator=(const AnnouncedWork&) = delete;
};

int ReadThreadCount() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return wanted > 0 ? static_cast<int>(std::min(wanted, 1024L)) : omp_get_num_procs();
}

class Leader {
 public:
  Leader() : thread_([this] { Loop(); }) {}

  void Run(const std::function<void()>& work) {
    if (std::this_thread::get_id() == thread_.get_id()) { return work(); }
    const std::lock_guard<std::mutex> turn(turn_);
    std::unique_lock<std::mutex> lock(mutex_);
    work_ = &work;
    given_.notify_one();
    done_.wait(lock, [this] { return work_ == nullptr; });
    if (const std::exception_ptr error = std::exchange(error_, nullptr)) { std::rethrow_exception(error); }
  }

 private:
  [[noreturn]] void Loop() {
    omp_set_num_threads(ThreadCount());
    for (std::unique_lock<std::mutex> lock(mutex_);;) {
      given_.wait(lock, [this] { return work_ != nullptr; });
      try {
        (*work_)();  // the caller sleeps meanwhile, so holding the lock delays no thread
      } catch (...) { error_ = std::current_exception(); }
      work_ = nullptr;
      done_.notify_one();
    }
  }

  std::mutex turn_, mutex_;
  std::condition_variable given_, done_;
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr error_;
  std::thread thread_;  // the last member, as it uses the others
};

}  // namespace

int ThreadCount() {
  static const int count = ReadThreadCount();
  return count;
}

void OnTeam(const std::function<void()>& work) {
  const AnnouncedWork announced;
  if (ThreadCount() == 1) {
    omp_set_num_threads(1);
    return work();
  }
  static Leader& leader = *new Leader;  // never destroyed: its thread sleeps until the process ends
  leader.Run(work);
}

}  // namespace insightface
