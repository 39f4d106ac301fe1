/* While a graph runs, OneFlow 0.9's scheduler polls without pause whether it has finished, and occupies a core that the
   graph could use: on two cores, a fifth of the machine. Loaded with global visibility before OneFlow, this function
   overrides the one that answers: after many negative answers in a row it sleeps a little before the next. While a
   kernel of ops/native works, it sleeps until that has ended, as each waking takes a core from the kernel, whose other
   threads then wait for that core. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "original.h"

/* oneflow::vm::CriticalSectionStreamPolicy::QueryInstructionStatusDone(const Stream&, const InstructionStatusBuffer&),
   a const member. */
#define QUERY                                                                                          \
  "_ZNK7oneflow2vm27CriticalSectionStreamPolicy26QueryInstructionStatusDoneERKNS0_6StreamERKNS0_23Ins" \
  "tructionStatusBufferE"

bool query(const void* policy, const void* stream, const void* status) __asm__(QUERY);

/* Polls for about a tenth of a millisecond, then sleeps between polls, each time longer than before: at time t for
   sqrt(20 microseconds * t). Each sleep costs about 40 microseconds of CPU time. In 250 ms there are a third as many
   sleeps as with a constant 50 microseconds, and the end is noticed a millisecond late. */
enum { PATIENCE = 300, FIRST_NAP_NANOSECONDS = 50000, LONGER_BY_NANOSECONDS = 10000, LONGEST_NAPS = 2000 };

/* The longest sleep while a kernel works: the scheduler has other instructions to serve, too. */
enum { LONGEST_SLEEP_NANOSECONDS = 5000000 };

static long naps;

/* How many kernels work. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int working;

static void initialise(void) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&ended, &attributes);
}

void insightface_work_begins(void) {
  pthread_once(&once, initialise);
  pthread_mutex_lock(&mutex);
  ++working;
  pthread_mutex_unlock(&mutex);
}

void insightface_work_ends(void) {
  pthread_mutex_lock(&mutex);
  if (--working == 0) { pthread_cond_broadcast(&ended); }
  pthread_mutex_unlock(&mutex);
}

/* Sleeps while a kernel works, but no longer than the longest sleep. Returns whether one has worked, and sets `refusals`
   to 0 if none does any more: the graph may end soon. */
static bool sleep_through_work(int* refusals) {
  pthread_mutex_lock(&mutex);
  const bool worked = working > 0;
  if (worked) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += LONGEST_SLEEP_NANOSECONDS;
    if (end.tv_nsec >= 1000000000) { ++end.tv_sec, end.tv_nsec -= 1000000000; }
    while (working > 0 && pthread_cond_timedwait(&ended, &mutex, &end) == 0) {}
    if (working == 0) { *refusals = 0; }
    __atomic_add_fetch(&naps, 1, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&mutex);
  return worked;
}

bool query(const void* policy, const void* stream, const void* status) {
  static bool (*own)(const void*, const void*, const void*);
  static __thread int refusals;
  bool (*ask)(const void*, const void*, const void*) = __atomic_load_n(&own, __ATOMIC_RELAXED);
  if (ask == NULL) {
    ask = (bool (*)(const void*, const void*, const void*))insightface_original(QUERY);
    __atomic_store_n(&own, ask, __ATOMIC_RELAXED);
  }
  if (ask(policy, stream, status)) {
    refusals = 0;
    return true;
  }
  if (++refusals > PATIENCE) {
    if (sleep_through_work(&refusals)) { return false; }
    const long before = refusals - PATIENCE < LONGEST_NAPS ? refusals - PATIENCE : LONGEST_NAPS;
    const struct timespec nap = {0, FIRST_NAP_NANOSECONDS + before * LONGER_BY_NANOSECONDS};
    nanosleep(&nap, NULL);
    __atomic_add_fetch(&naps, 1, __ATOMIC_RELAXED);
  }
  return false;
}

/* Returns how often the scheduler has slept in this process. */
long insightface_naps(void) { return __atomic_load_n(&naps, __ATOMIC_RELAXED); }
