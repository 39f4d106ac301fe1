/* While a graph runs, OneFlow 0.9's scheduler polls without pause whether it has finished, and occupies a core that the
   graph could use: on two cores, a fifth of the machine. Loaded with global visibility before OneFlow, this function
   overrides the one that answers: after many negative answers in a row it sleeps a little before the next. */
#define _GNU_SOURCE
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

static long naps;

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
    const long before = refusals - PATIENCE < LONGEST_NAPS ? refusals - PATIENCE : LONGEST_NAPS;
    const struct timespec nap = {0, FIRST_NAP_NANOSECONDS + before * LONGER_BY_NANOSECONDS};
    nanosleep(&nap, NULL);
    __atomic_add_fetch(&naps, 1, __ATOMIC_RELAXED);
  }
  return false;
}

/* Returns how often the scheduler has slept in this process. */
long insightface_naps(void) { return __atomic_load_n(&naps, __ATOMIC_RELAXED); }
