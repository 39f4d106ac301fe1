// The points of Winograd's filtering of float32 maps, 0, +-p, +-q and infinity, and the scales of its filters (see
// winograd_tiles.h). All but the scales are exact in float32.
#pragma once

namespace insightface {

constexpr float kP = 0.75f, kQ = 1.5f;
constexpr float kP2 = kP * kP, kQ2 = kQ * kQ, kP3 = kP2 * kP, kQ3 = kQ2 * kQ;
constexpr float kP2Q2 = kP2 * kQ2;
constexpr float kZeroScale = 1 / kP2Q2;
constexpr float kPScale = 1 / (2 * kP2 * (kP2 - kQ2)), kQScale = 1 / (2 * kQ2 * (kQ2 - kP2));

}  // namespace insightface
