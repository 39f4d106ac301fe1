// Features of templates: the mean of the images of each media, and the sum of the medias of each template.
//
// Each image is read once, from where it is; the two sums stay in the first cache. All additions are float32 in the
// order of the images, so that the numbers are those of NumPy's sums along the first axis.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "row_sums.h"

// The structure of ops/search/pooling.py.
struct PoolRequest {
  const float* features;           // [images, width]
  const int64_t* order;            // [images], the images by template and media
  const float* factors;            // [images], in that order
  const int64_t* media_begins;     // [medias + 1], places in `order`
  const int64_t* template_begins;  // [templates + 1], places in `media_begins`
  float* sums;                     // [templates, width], overwritten
  int64_t images, templates, width;
};

namespace {

constexpr int64_t kAhead = 16;  // images that are prefetched before they are read

}  // namespace

extern "C" void insightface_pool(const PoolRequest* request) {
  const PoolRequest& r = *request;
  const int64_t width = r.width;
  const auto add = [&r, width](int64_t place, float* sum) {
    const int64_t later = r.order[std::min(place + kAhead, r.images - 1)];
    insightface::kRowSums.Add(r.features + r.order[place] * width, r.factors[place], r.features + later * width, width,
                              sum);
  };
  std::vector<float> media_sum(width);
  for (int64_t row = 0; row < r.templates; ++row) {
    float* const sum = r.sums + row * width;
    std::fill(sum, sum + width, 0.0f);
    for (int64_t media = r.template_begins[row]; media < r.template_begins[row + 1]; ++media) {
      const int64_t begin = r.media_begins[media], end = r.media_begins[media + 1];
      if (end - begin == 1) {
        add(begin, sum);
        continue;
      }
      for (int64_t place = begin; place < end; ++place) { add(place, media_sum.data()); }
      insightface::kRowSums.AddMean(media_sum.data(), static_cast<float>(end - begin), width, sum);
    }
  }
}
