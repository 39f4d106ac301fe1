#define _GNU_SOURCE
#include "original.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_oneflow(struct dl_phdr_info* library, size_t size, void* found) {
  (void)size;
  if (strstr(library->dlpi_name, "/liboneflow-") == NULL) { return 0; }
  *(const char**)found = library->dlpi_name;
  return 1;
}

void* insightface_original(const char* name) {
  const char* path = NULL;
  void* function = NULL;
  if (dl_iterate_phdr(is_oneflow, &path) != 0) { function = dlsym(dlopen(path, RTLD_NOW | RTLD_NOLOAD), name); }
  if (function == NULL) {
    fprintf(stderr, "error: OneFlow's %s was not found; this is not OneFlow 0.9.0\n", name);
    abort();
  }
  return function;
}
