// The caches of this processor.
#pragma once

#include <cstdint>

namespace insightface {

// The bytes of a core's second cache; 0 if the system does not say.
int64_t SecondCacheBytes();

}  // namespace insightface
