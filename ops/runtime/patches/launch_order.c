/* Orders two steps of OneFlow 0.9. To run a graph, a thread wakes the graph and then adds an entry to a queue; the graph
   removes the entry when it has finished. A graph that finishes before the entry was added, because it is small or the
   processors are busy, removes from an empty queue, which crashes the process. Loaded with global visibility before
   OneFlow, these functions override OneFlow's own: removing waits until there is an entry. */
#include <pthread.h>
#include <stdlib.h>

#include "original.h"

/* oneflow::vm::LazyJobStreamPolicy::EnqueueNNGraph(const std::shared_ptr<NNGraphIf>&) and DequeueNNGraph(). */
#define ENQUEUE "_ZN7oneflow2vm19LazyJobStreamPolicy14EnqueueNNGraphERKSt10shared_ptrINS_9NNGraphIfEE"
#define DEQUEUE "_ZN7oneflow2vm19LazyJobStreamPolicy14DequeueNNGraphEv"

void enqueue(void* queue, const void* graph) __asm__(ENQUEUE);
void dequeue(void* queue) __asm__(DEQUEUE);

/* The number of entries in a queue; each device has one queue. */
struct entries {
  const void* queue;
  long count;
  struct entries* next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t added_one = PTHREAD_COND_INITIALIZER;
static struct entries* all;
static long launches;

/* Called with the lock held. */
static struct entries* entries_of(const void* queue) {
  for (struct entries* entries = all; entries != NULL; entries = entries->next) {
    if (entries->queue == queue) { return entries; }
  }
  struct entries* added = calloc(1, sizeof(*added));
  if (added == NULL) { abort(); }
  added->queue = queue;
  added->next = all;
  all = added;
  return added;
}

void enqueue(void* queue, const void* graph) {
  ((void (*)(void*, const void*))insightface_original(ENQUEUE))(queue, graph);
  pthread_mutex_lock(&lock);
  ++entries_of(queue)->count;
  ++launches;
  pthread_cond_broadcast(&added_one);
  pthread_mutex_unlock(&lock);
}

void dequeue(void* queue) {
  pthread_mutex_lock(&lock);
  while (entries_of(queue)->count == 0) { pthread_cond_wait(&added_one, &lock); }
  --entries_of(queue)->count;
  pthread_mutex_unlock(&lock);
  ((void (*)(void*))insightface_original(DEQUEUE))(queue);
}

/* Returns how many graph runs this process has recorded. */
long insightface_launches(void) {
  pthread_mutex_lock(&lock);
  const long count = launches;
  pthread_mutex_unlock(&lock);
  return count;
}
