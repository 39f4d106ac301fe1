/* Puts two steps of OneFlow 0.9 into order. To run a graph, a thread wakes the graph up and then notes it in a queue;
   the graph takes the note out when it has ended. A graph that ends before it was noted, because it is small or the
   processors are busy, takes its note out of an empty queue, which destroys the process. Loaded before OneFlow and for
   all to see, these functions stand in front of OneFlow's own: taking a note waits until there is one. */
#include <pthread.h>
#include <stdlib.h>

#include "original.h"

/* oneflow::vm::LazyJobStreamPolicy::EnqueueNNGraph(const std::shared_ptr<NNGraphIf>&) and DequeueNNGraph(). */
#define ENQUEUE "_ZN7oneflow2vm19LazyJobStreamPolicy14EnqueueNNGraphERKSt10shared_ptrINS_9NNGraphIfEE"
#define DEQUEUE "_ZN7oneflow2vm19LazyJobStreamPolicy14DequeueNNGraphEv"

void enqueue(void* queue, const void* graph) __asm__(ENQUEUE);
void dequeue(void* queue) __asm__(DEQUEUE);

/* What one queue holds; there are as many as devices. */
struct notes {
  const void* queue;
  long count;
  struct notes* next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t noted = PTHREAD_COND_INITIALIZER;
static struct notes* all;
static long launches;

/* Called with the lock held. */
static struct notes* notes_of(const void* queue) {
  for (struct notes* notes = all; notes != NULL; notes = notes->next) {
    if (notes->queue == queue) { return notes; }
  }
  struct notes* added = calloc(1, sizeof(*added));
  if (added == NULL) { abort(); }
  added->queue = queue;
  added->next = all;
  all = added;
  return added;
}

void enqueue(void* queue, const void* graph) {
  ((void (*)(void*, const void*))insightface_original(ENQUEUE))(queue, graph);
  pthread_mutex_lock(&lock);
  ++notes_of(queue)->count;
  ++launches;
  pthread_cond_broadcast(&noted);
  pthread_mutex_unlock(&lock);
}

void dequeue(void* queue) {
  pthread_mutex_lock(&lock);
  while (notes_of(queue)->count == 0) { pthread_cond_wait(&noted, &lock); }
  --notes_of(queue)->count;
  pthread_mutex_unlock(&lock);
  ((void (*)(void*))insightface_original(DEQUEUE))(queue);
}

/* How many graph runs have been noted in this process. */
long insightface_launches(void) {
  pthread_mutex_lock(&lock);
  const long count = launches;
  pthread_mutex_unlock(&lock);
  return count;
}
