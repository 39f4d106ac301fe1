// Scores of all probes with a block of gallery rows, and what the caller wants of them: the best k, counts above
// thresholds, a histogram, or the scores themselves.
//
// All threads pack some thousand gallery rows; then each thread takes groups of probes and multiplies them with tiles
// of those rows. A tile of scores never leaves the first cache: it is searched by comparisons of whole vectors, and
// only a score that passes its probe's bound costs more. One thread at a time works on a probe, in the order of the
// gallery.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "tile.h"

namespace insightface {
namespace {

constexpr int64_t kSpanTiles = 16;   // tiles that are packed before the probes pass over them
constexpr int64_t kGroupPanels = 4;  // probe panels that a thread takes at a time
constexpr int64_t kScan = 64;        // scores compared at once

}  // namespace

// The structure of ops/search/kernel.py. Pointers to what is not wanted are null.
struct SearchRequest {
  const float* probes;   // [probe_count, width]
  const float* gallery;  // [gallery_count, width]
  int64_t probe_count, gallery_count, width;
  int64_t first_number;  // the number of gallery[0]
  int64_t threads;
  // The best k of each probe so far, as heaps with the worst first; at the start -infinity and number -1.
  int64_t k;
  float* best_scores;     // [probe_count, k]
  int64_t* best_numbers;  // [probe_count, k]
  // Ascending thresholds of probe p: thresholds[offsets[p]] .. thresholds[offsets[p + 1] - 1]. Adds the scores that
  // reach a threshold but not the next one to that threshold's place of `reached`.
  const float* thresholds;
  const int64_t* offsets;  // [probe_count + 1]
  int64_t* reached;        // as thresholds
  // Adds each score to histogram[steps + floor(score * steps)]; `steps` is a power of two.
  int64_t steps;
  int64_t* histogram;  // [2 steps + 1]
  float* scores;       // [probe_count, gallery_count]
};

namespace {

struct FreeDeleter {
  void operator()(float* memory) const { std::free(memory); }
};
using Floats = std::unique_ptr<float, FreeDeleter>;

Floats Allocate(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 63) / 64 * 64;
  return Floats(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

bool IsWorse(float score, int64_t number, float other, int64_t other_number) {
  return score < other || (score == other && number > other_number);
}

// Replaces the worst entry of a heap, which stands first, by a better one.
void ReplaceWorst(float* scores, int64_t* numbers, int64_t k, float score, int64_t number) {
  int64_t place = 0;
  for (;;) {
    int64_t child = 2 * place + 1;
    if (child >= k) { break; }
    if (child + 1 < k && IsWorse(scores[child + 1], numbers[child + 1], scores[child], numbers[child])) { ++child; }
    if (!IsWorse(scores[child], numbers[child], score, number)) { break; }
    scores[place] = scores[child];
    numbers[place] = numbers[child];
    place = child;
  }
  scores[place] = score;
  numbers[place] = number;
}

void KeepBest(const SearchRequest& request, int64_t probe, const float* scores, int64_t count, int64_t number) {
  float* const best = request.best_scores + probe * request.k;
  int64_t* const numbers = request.best_numbers + probe * request.k;
  for (int64_t start = 0; start < count; start += kScan) {
    uint64_t passed = kTileLoops.Above(scores + start, best[0]);
    if (count - start < kScan) { passed &= (uint64_t{1} << (count - start)) - 1; }
    for (; passed != 0; passed &= passed - 1) {
      const int64_t place = start + __builtin_ctzll(passed);
      // The bound may have risen since the comparison.
      if (scores[place] > best[0]) { ReplaceWorst(best, numbers, request.k, scores[place], number + place); }
    }
  }
}

void CountReached(const SearchRequest& request, int64_t probe, const float* scores, int64_t count) {
  const float* const begin = request.thresholds + request.offsets[probe];
  const float* const end = request.thresholds + request.offsets[probe + 1];
  if (begin == end) { return; }
  int64_t* const reached = request.reached + request.offsets[probe];
  for (int64_t start = 0; start < count; start += kScan) {
    uint64_t passed = kTileLoops.Reaching(scores + start, *begin);
    if (count - start < kScan) { passed &= (uint64_t{1} << (count - start)) - 1; }
    for (; passed != 0; passed &= passed - 1) {
      const float score = scores[start + __builtin_ctzll(passed)];
      ++reached[std::upper_bound(begin, end, score) - begin - 1];
    }
  }
}

void AddToHistogram(const float* scores, int64_t count, int64_t steps, int64_t* histogram) {
  int32_t places[kScan];
  for (int64_t start = 0; start < count; start += kScan) {
    kTileLoops.Place(scores + start, static_cast<float>(steps), places);
    const int64_t end = std::min(kScan, count - start);
    for (int64_t i = 0; i < end; ++i) { ++histogram[steps + places[i]]; }
  }
}

// Looks through the scores of a tile: [probe_panel, kTileRows], of which `probes` x `count` are real.
void LookThrough(const SearchRequest& request, int64_t first_probe, int64_t probes, int64_t first_row, int64_t count,
                 const float* tile, int64_t* histogram) {
  for (int64_t i = 0; i < probes; ++i) {
    const float* scores = tile + i * kTileRows;
    const int64_t probe = first_probe + i;
    if (request.best_scores != nullptr) {
      KeepBest(request, probe, scores, count, request.first_number + first_row);
    }
    if (request.reached != nullptr) { CountReached(request, probe, scores, count); }
    if (histogram != nullptr) { AddToHistogram(scores, count, request.steps, histogram); }
    if (request.scores != nullptr) {
      std::memcpy(request.scores + probe * request.gallery_count + first_row, scores, count * sizeof(float));
    }
  }
}

int64_t Ceil(int64_t count, int64_t size) { return (count + size - 1) / size; }

}  // namespace
}  // namespace insightface

extern "C" {

// Returns 0, or 1 if memory is short; the results are then incomplete.
int insightface_search(const insightface::SearchRequest* given) {
  using namespace insightface;
  const SearchRequest& request = *given;
  const int64_t width = request.width, panel = kTileLoops.probe_panel;
  const int64_t panels = Ceil(request.probe_count, panel), groups = Ceil(panels, kGroupPanels);
  const int64_t span = std::min(kSpanTiles * kTileRows, Ceil(request.gallery_count, kTileRows) * kTileRows);
  const Floats probes = Allocate(panels * panel * width), gallery = Allocate(span * width);
  if (probes == nullptr || gallery == nullptr) { return 1; }
  int failures = 0;
#pragma omp parallel num_threads(static_cast<int>(request.threads)) reduction(+ : failures)
  {
    const Floats tile = Allocate(kMaxProbePanel * kTileRows);
    std::vector<int64_t> histogram;
    if (request.histogram != nullptr) { histogram.resize(2 * request.steps + 1); }
    failures += tile == nullptr;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < panels; ++i) {
      kTileLoops.Pack(request.probes + i * panel * width, std::min(panel, request.probe_count - i * panel), width,
                      panel, probes.get() + i * panel * width);
    }
    for (int64_t begin = 0; begin < request.gallery_count; begin += span) {
      const int64_t rows = std::min(span, request.gallery_count - begin);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < Ceil(rows, kGalleryPanel); ++i) {
        kTileLoops.Pack(request.gallery + (begin + i * kGalleryPanel) * width,
                        std::min(kGalleryPanel, rows - i * kGalleryPanel), width, kGalleryPanel,
                        gallery.get() + i * kGalleryPanel * width);
      }
#pragma omp for schedule(dynamic)
      for (int64_t group = 0; group < groups; ++group) {
        if (tile == nullptr) { continue; }
        for (int64_t start = 0; start < rows; start += kTileRows) {
          const int64_t count = std::min(kTileRows, rows - start);
          for (int64_t i = group * kGroupPanels; i < std::min((group + 1) * kGroupPanels, panels); ++i) {
            kTileLoops.Multiply(probes.get() + i * panel * width, gallery.get() + start * width,
                                Ceil(count, kGalleryPanel), width, tile.get());
            LookThrough(request, i * panel, std::min(panel, request.probe_count - i * panel), begin + start, count,
                        tile.get(), request.histogram != nullptr ? histogram.data() : nullptr);
          }
        }
      }
    }
    if (request.histogram != nullptr) {
#pragma omp critical
      for (size_t i = 0; i < histogram.size(); ++i) { request.histogram[i] += histogram[i]; }
    }
  }
  return failures != 0;
}

}  // extern "C"
