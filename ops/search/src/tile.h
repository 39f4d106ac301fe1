// One tile of scores: dot products of a few probes with some gallery rows, and what is looked for among them.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"

namespace insightface {

constexpr int64_t kGalleryPanel = 32;  // gallery rows that lie beside each other in a packed panel
constexpr int64_t kTileRows = 256;     // gallery rows of a tile; packed, they stay in the second cache
constexpr int64_t kMaxProbePanel = 12;

struct TileLoops {
  // Probes in a packed panel, at most kMaxProbePanel.
  int64_t probe_panel;
  // panel [width, lanes] = the transposed `rows` rows of `matrix` [rows, width]; lanes beyond `rows` are zero.
  void (*Pack)(const float* matrix, int64_t rows, int64_t width, int64_t lanes, float* panel);
  // scores [probe_panel, kTileRows] = dot products of a packed probe panel and `panels` packed gallery panels. Each
  // score is one chain of additions along the width, wherever it lies in the tile, so equal rows have equal scores.
  void (*Multiply)(const float* probes, const float* gallery, int64_t panels, int64_t width, float* scores);
  // The places in scores[0..64) that are above `bound`, or reach it, as bits.
  uint64_t (*Above)(const float* scores, float bound);
  uint64_t (*Reaching)(const float* scores, float bound);
  // places[i] = floor(scores[i] * steps), within -steps .. steps; exact for a power of two. 64 scores.
  void (*Place)(const float* scores, float steps, int32_t* places);
};
INSIGHTFACE_LOOPS(TileLoops, kTileLoops)

}  // namespace insightface
