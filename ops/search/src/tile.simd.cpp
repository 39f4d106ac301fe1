#include "tile.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Vectors, and the number of probes whose sums fill the registers.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kProbes = 12, kVectors = 2;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kProbes = 6, kVectors = 2;
#else
constexpr int kLanes = 4, kProbes = 6, kVectors = 2;
#endif
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
constexpr int kStrip = kLanes * kVectors;  // gallery rows multiplied at once
static_assert(kGalleryPanel % kStrip == 0 && kProbes <= kMaxProbePanel, "panels hold whole strips");

void Pack(const float* matrix, int64_t rows, int64_t width, int64_t lanes, float* panel) {
  constexpr int64_t kBlock = 16;  // columns: a cache line of each row
  for (int64_t start = 0; start < width; start += kBlock) {
    const int64_t end = start + kBlock < width ? start + kBlock : width;
    for (int64_t row = 0; row < lanes; ++row) {
      for (int64_t k = start; k < end; ++k) { panel[k * lanes + row] = row < rows ? matrix[row * width + k] : 0.0f; }
    }
  }
}

void MultiplyStrip(const float* probes, const float* gallery, int64_t width, float* scores) {
  Vector sums[kProbes][kVectors] = {};
  for (int64_t k = 0; k < width; ++k) {
    const Vector* row = reinterpret_cast<const Vector*>(gallery + k * kGalleryPanel);
    const Vector first = row[0], second = row[1];
    const float* values = probes + k * kProbes;
#pragma GCC unroll 12
    for (int probe = 0; probe < kProbes; ++probe) {
      sums[probe][0] += values[probe] * first;
      sums[probe][1] += values[probe] * second;
    }
  }
#pragma GCC unroll 12
  for (int probe = 0; probe < kProbes; ++probe) {
    Vector* target = reinterpret_cast<Vector*>(scores + probe * kTileRows);
    target[0] = sums[probe][0];
    target[1] = sums[probe][1];
  }
}

void Multiply(const float* probes, const float* gallery, int64_t panels, int64_t width, float* scores) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t strip = 0; strip < kGalleryPanel; strip += kStrip) {
      MultiplyStrip(probes, gallery + panel * kGalleryPanel * width + strip, width,
                    scores + panel * kGalleryPanel + strip);
    }
  }
}

#if defined(__AVX512F__)

template<int kComparison>
uint64_t Compare(const float* scores, float bound) {
  const __m512 bounds = _mm512_set1_ps(bound);
  uint64_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    bits |= static_cast<uint64_t>(_mm512_cmp_ps_mask(_mm512_loadu_ps(scores + 16 * i), bounds, kComparison))
            << (16 * i);
  }
  return bits;
}
uint64_t Above(const float* scores, float bound) { return Compare<_CMP_GT_OQ>(scores, bound); }
uint64_t Reaching(const float* scores, float bound) { return Compare<_CMP_GE_OQ>(scores, bound); }

#elif defined(__AVX2__)

template<int kComparison>
uint64_t Compare(const float* scores, float bound) {
  const __m256 bounds = _mm256_set1_ps(bound);
  uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) {
    const int passed = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(scores + 8 * i), bounds, kComparison));
    bits |= static_cast<uint64_t>(static_cast<unsigned>(passed)) << (8 * i);
  }
  return bits;
}
uint64_t Above(const float* scores, float bound) { return Compare<_CMP_GT_OQ>(scores, bound); }
uint64_t Reaching(const float* scores, float bound) { return Compare<_CMP_GE_OQ>(scores, bound); }

#else

uint64_t Above(const float* scores, float bound) {
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) { bits |= static_cast<uint64_t>(scores[i] > bound) << i; }
  return bits;
}
uint64_t Reaching(const float* scores, float bound) {
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) { bits |= static_cast<uint64_t>(scores[i] >= bound) << i; }
  return bits;
}

#endif

void Place(const float* scores, float steps, int32_t* places) {
#pragma omp simd
  for (int i = 0; i < 64; ++i) {
    float scaled = scores[i] * steps;
    scaled = scaled < -steps ? -steps : scaled;
    scaled = scaled > steps ? steps : scaled;
    const int32_t truncated = static_cast<int32_t>(scaled);
    places[i] = truncated - (static_cast<float>(truncated) > scaled ? 1 : 0);
  }
}

}  // namespace

const TileLoops kTileLoops = {kProbes, Pack, Multiply, Above, Reaching, Place};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
