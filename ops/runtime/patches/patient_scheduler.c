/* While a graph runs, OneFlow 0.9's scheduler asks without pause whether it has ended, on a core of its own that the
   graph could use: with two cores that was a fifth of the machine. Loaded before OneFlow and for all to see, this
   function stands in front of the one that answers: after many a "no" in a row it sleeps a little before the next. */
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

/* About a tenth of a millisecond of asking, then naps, each of them longer than the one before: after a time t they
   last the square root of 20 microseconds times t. Falling asleep and waking up cost the cores about 40 microseconds:
   in 250 ms they are a third as many as naps of 50 microseconds were, and the end is noticed a millisecond late. */
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

/* How often the scheduler has slept in this process. */
long insightface_naps(void) { return __atomic_load_n(&naps, __ATOMIC_RELAXED); }
