/* A rank of OneFlow 0.9 that connects to rank 0 before rank 0 listens sleeps ten seconds before it tries again. Ranks
   that start together lose this race every other time. Loaded with global visibility before OneFlow, this function
   overrides the one that connects: the first call waits until rank 0 accepts connections, and so succeeds at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "original.h"

/* oneflow::RpcClient::LoadServer(const LoadServerRequest&, CtrlService::Stub*). */
#define LOAD_SERVER "_ZN7oneflow9RpcClient10LoadServerERKNS_17LoadServerRequestEPNS_11CtrlService4StubE"

/* Waits as long as OneFlow itself tries; an attempt without an answer times out after a second. */
enum { LONGEST_WAIT_SECONDS = 600, PAUSE_NANOSECONDS = 20000000, ANSWER_MILLISECONDS = 1000 };

void load_server(void* client, const void* request, void* stub) __asm__(LOAD_SERVER);

static bool accepts_connections(const struct addrinfo* address) {
  const int end = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (end < 0) { return false; }
  bool accepted = connect(end, address->ai_addr, address->ai_addrlen) == 0;
  if (!accepted) {
    struct pollfd answer = {.fd = end, .events = POLLOUT};
    int error = -1;
    socklen_t size = sizeof(error);
    accepted = poll(&answer, 1, ANSWER_MILLISECONDS) == 1 &&
               getsockopt(end, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  close(end);
  return accepted;
}

static void wait_for_first_rank(void) {
  const char* host = getenv("MASTER_ADDR");
  const char* port = getenv("MASTER_PORT");
  const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
  struct addrinfo* address = NULL;
  if (host == NULL || port == NULL || getaddrinfo(host, port, &wanted, &address) != 0) { return; }
  const struct timespec pause = {0, PAUSE_NANOSECONDS};
  const time_t start = time(NULL);
  while (!accepts_connections(address) && time(NULL) - start < LONGEST_WAIT_SECONDS) { nanosleep(&pause, NULL); }
  freeaddrinfo(address);
}

void load_server(void* client, const void* request, void* stub) {
  static int calls;
  if (__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) == 0) { wait_for_first_rank(); }
  ((void (*)(void*, const void*, void*))insightface_original(LOAD_SERVER))(client, request, stub);
}
