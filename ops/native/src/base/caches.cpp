#include "base/caches.h"

#include <unistd.h>

#include <algorithm>

namespace insightface {

int64_t SecondCacheBytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const int64_t bytes = std::max<int64_t>(sysconf(_SC_LEVEL2_CACHE_SIZE), 0);
  return bytes;
#else
  return 0;
#endif
}

}  // namespace insightface
