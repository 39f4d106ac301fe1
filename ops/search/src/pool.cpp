// Features of templates: the mean of the images of each media, and the sum of the medias of each template.
//
// Each image is read once, from where it is; the two sums stay in the first cache. All additions are float32 in the
// order of the images, so that the numbers are those of NumPy's sums along the first axis.
#include <algorithm>
#include <cstdint>
#include <vector>

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

constexpr int64_t kAhead = 4;       // images that are asked for before they are read
constexpr int64_t kCacheLine = 64;  // bytes

void PrefetchRow(const float* row, int64_t width) {
  const char* begin = reinterpret_cast<const char*>(row);
  for (int64_t byte = 0; byte < width * static_cast<int64_t>(sizeof(float)); byte += kCacheLine) {
    __builtin_prefetch(begin + byte);
  }
}

// sum += factor * the image at `place` of the order.
void AddRow(const PoolRequest& r, int64_t place, float* sum) {
  if (place + kAhead < r.images) PrefetchRow(r.features + r.order[place + kAhead] * r.width, r.width);
  const float* const image = r.features + r.order[place] * r.width;
  const float factor = r.factors[place];
  for (int64_t i = 0; i < r.width; ++i) sum[i] += factor * image[i];
}

}  // namespace

extern "C" void insightface_pool(const PoolRequest* request) {
  const PoolRequest& r = *request;
  const int64_t width = r.width;
  std::vector<float> media_sum(width);
  for (int64_t row = 0; row < r.templates; ++row) {
    float* const sum = r.sums + row * width;
    std::fill(sum, sum + width, 0.0f);
    for (int64_t media = r.template_begins[row]; media < r.template_begins[row + 1]; ++media) {
      const int64_t begin = r.media_begins[media], end = r.media_begins[media + 1];
      if (end - begin == 1) {
        AddRow(r, begin, sum);
        continue;
      }
      std::fill(media_sum.begin(), media_sum.end(), 0.0f);
      for (int64_t place = begin; place < end; ++place) AddRow(r, place, media_sum.data());
      const float count = static_cast<float>(end - begin);
      for (int64_t i = 0; i < width; ++i) sum[i] += media_sum[i] / count;
    }
  }
}
