#include "register/network_inference.h"

#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "base/call_counts.h"
#include "base/team.h"

namespace insightface {
namespace {

int64_t PortionSize(int64_t numbers, int64_t batch) {
  constexpr int64_t kSmall = 4 * 1024 * 1024, kLeast = 4, kMost = 8;
  int64_t portion = numbers <= kSmall ? kMost : batch;
  while (portion >= kLeast && batch % portion != 0) { --portion; }
  return portion >= kLeast ? portion : batch;
}

}  // namespace

void InferInPortions(NetworkKey key, int64_t numbers, int64_t image_bytes, NetworkMemory memory) {
  const int64_t batch = key.batch, portion = PortionSize(numbers, batch);
  key.batch = portion;
  const auto network = GetNetwork(key);
  // A number below 0 for this call alone, as those of tables are above: its portions share the arrays.
  static std::atomic<int64_t> calls{0};
  if (memory.arrays_version == 0) { memory.arrays_version = --calls; }
  for (int64_t first = 0; first < batch; first += portion) {
    network->Forward(memory);
    memory.images.data = static_cast<const char*>(memory.images.data) + portion * image_bytes;
    memory.embeddings += portion * network->EmbeddingSize();
  }
}

}  // namespace insightface

extern "C" {

// Embeds images [shape[0], ..., shape[3]], bytes or float32, on the calling thread and the team, past OneFlow. Returns
// null, or why the network cannot be executed, valid until the thread's next call.
const char* insightface_network_infer(const char* description, int32_t bfloat16, const void* table, const void* images,
                                      int32_t are_bytes, const int64_t* shape, float* embeddings) {
  using namespace insightface;
  static thread_local std::string reason;
  try {
    const auto* const arrays = static_cast<const ArrayTable*>(table);
    const int64_t number_bytes = are_bytes != 0 ? 1 : sizeof(float);
    NetworkMemory memory;
    memory.images = {images, are_bytes != 0, shape[1]};
    memory.embeddings = embeddings;
    arrays->AddTo(&memory);
    NetworkKey key{description, shape[0], TypeOf(bfloat16 != 0)};
    OnTeam([&] {
      InferInPortions(std::move(key), arrays->parameter_numbers, shape[1] * shape[2] * shape[3] * number_bytes,
                      std::move(memory));
    });
    CountCall(Kernel::kNetworkInference);
  } catch (const std::exception& error) {
    reason = error.what();
    return reason.c_str();
  }
  return nullptr;
}

}  // extern "C"
