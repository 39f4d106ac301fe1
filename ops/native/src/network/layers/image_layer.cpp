// Images      computes y = (image - mean) * scale, channels last. Nothing in backward: images have no gradient.
// Embeddings  computes embeddings = x as float32.
//             backward reads the embeddings' gradient.
//             writes dx; the last value has no other reader.
#include "network/layers/image_layer.h"

#include <type_traits>

#include "base/parallel.h"
#include "network/layers/accumulate.h"
#include "network/layers/of_type.h"

namespace insightface {
namespace {

template<typename T>
class ImageLayer final : public Layer {
 public:
  ImageLayer(int output, const ValueShape& shape, int64_t batch, float mean, float scale)
      : Layer({}, output), shape_(shape), batch_(batch), mean_(mean), scale_(scale) {}

  void Forward(const ExecutionContext& context) override {
    T* const y = context.ValueAt<T>(output);
    const bool channels_last = context.images.outer_axis != shape_.channels;
    if (context.images.are_bytes) {
      Read(static_cast<const uint8_t*>(context.images.data), channels_last, y);
    } else {
      Read(static_cast<const float*>(context.images.data), channels_last, y);
    }
  }
  void Backward(const ExecutionContext&) override {}

 private:
  template<typename From>
  void Read(const From* images, bool channels_last, T* y) const {
    const int64_t pixels = shape_.Pixels(), channels = shape_.channels;
    if (channels_last) {
      ParallelRows(batch_ * pixels, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin * channels; i < end * channels; ++i) {
          Store((static_cast<float>(images[i]) - mean_) * scale_, y + i);
        }
      });
      return;
    }
    if (channels == 3) {
      ReadPlanes(images, std::integral_constant<int64_t, 3>(), y);
    } else {
      ReadPlanes(images, channels, y);
    }
  }

  // `channels` is a constant where the compiler may know it.
  template<typename From, typename Count>
  void ReadPlanes(const From* images, Count channels, T* y) const {
    const int64_t pixels = shape_.Pixels();
    ParallelRows(batch_ * pixels, [&](int64_t begin, int64_t end, int) {
      int64_t image = begin / pixels, place = begin % pixels;
      for (int64_t row = begin; row < end; ++row) {
        const From* const pixel = images + image * channels * pixels + place;
        if (++place == pixels) { ++image, place = 0; }
        for (int64_t c = 0; c < channels; ++c) {
          Store((static_cast<float>(pixel[c * pixels]) - mean_) * scale_, y + row * channels + c);
        }
      }
    });
  }

  const ValueShape shape_;
  const int64_t batch_;
  const float mean_, scale_;
};

template<typename T>
class EmbeddingLayer final : public Layer {
 public:
  EmbeddingLayer(int input, int64_t count) : Layer({input}, -1), count_(count) {}
  void Forward(const ExecutionContext& context) override {
    Convert(context.ValueAt<const T>(inputs[0]), context.embeddings, count_);
  }
  void Backward(const ExecutionContext& context) override {
    Convert(context.embedding_gradients, context.GradientAt<T>(inputs[0]), count_);
  }

 private:
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Layer> MakeImageLayer(int output, const Value& out, int64_t batch, float mean, float scale) {
  return MakeOfType<ImageLayer>(out.type, output, out.shape, batch, mean, scale);
}

std::unique_ptr<Layer> MakeEmbeddingLayer(int input, const Value& in, int64_t batch) {
  return MakeOfType<EmbeddingLayer>(in.type, input, batch * in.shape.Count());
}

}  // namespace insightface
