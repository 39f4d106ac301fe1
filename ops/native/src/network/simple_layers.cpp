#include "network/simple_layers.h"

#include <cmath>

#include "network/accumulate.h"
#include "network/channel_rows.h"
#include "network/parallel.h"

namespace insightface {
namespace {

template<template<typename> class LayerOf, typename... Arguments>
std::unique_ptr<Layer> MakeOfType(NumberType type, const Arguments&... arguments) {
  if (type == NumberType::kFloat32) { return std::make_unique<LayerOf<float>>(arguments...); }
  return std::make_unique<LayerOf<BFloat16>>(arguments...);
}

template<typename T>
class ImageLayer final : public Layer {
 public:
  ImageLayer(int output, const ValueShape& shape, int64_t batch, float mean, float scale)
      : Layer({}, output), shape_(shape), batch_(batch), mean_(mean), scale_(scale) {}

  void Forward(const Run& run) override {
    T* const y = run.ValueAt<T>(output);
    const bool channels_last = run.images.outer_axis != shape_.channels;
    if (run.images.are_bytes) {
      Read(static_cast<const uint8_t*>(run.images.data), channels_last, y);
    } else {
      Read(static_cast<const float*>(run.images.data), channels_last, y);
    }
  }
  void Backward(const Run&) override {}

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
    ParallelRows(batch_ * pixels, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const From* const pixel = images + row / pixels * channels * pixels + row % pixels;
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
  void Forward(const Run& run) override { Convert(run.ValueAt<const T>(inputs[0]), run.embeddings, count_); }
  void Backward(const Run& run) override { Convert(run.embedding_gradients, run.GradientAt<T>(inputs[0]), count_); }

 private:
  const int64_t count_;
};

template<typename T>
class AddLayer final : public Layer {
 public:
  AddLayer(const std::vector<int>& inputs, int output, int64_t count) : Layer(inputs, output), count_(count) {}
  void Forward(const Run& run) override {
    T* const y = run.ValueAt<T>(output);
    Convert(run.ValueAt<const T>(inputs[0]), y, count_);
    AddInto(y, run.ValueAt<const T>(inputs[1]), count_);
  }
  void Backward(const Run& run) override {
    for (size_t input = 0; input < inputs.size(); ++input) {
      PassGradient(run, *this, input, count_, run.GradientAt<const T>(output));
    }
  }
  bool PassesGradient(size_t) const override { return true; }

 private:
  const int64_t count_;
};

template<typename T>
class PreluLayer final : public Layer {
 public:
  PreluLayer(int input, int output, const ValueShape& shape, int64_t batch, int slope)
      : Layer({input}, output),
        slope_(slope),
        channels_(shape.channels),
        rows_(batch * shape.Pixels()),
        zeros_(channels_, 0.0f),
        ones_(channels_, 1.0f) {}

  void Forward(const Run& run) override {
    const ChannelAffine affine = Identity(run);
    const T* const x = run.ValueAt<const T>(inputs[0]);
    T* const y = run.ValueAt<T>(output);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      ApplyAffine(x + begin * channels_, static_cast<const T*>(nullptr), end - begin, channels_, affine,
                  y + begin * channels_);
    });
  }

  void Backward(const Run& run) override {
    constexpr int64_t kRowsPerSum = 256;
    const ChannelAffine affine = Identity(run);
    const T* const x = run.ValueAt<const T>(inputs[0]);
    const T* const dy = run.GradientAt<const T>(output);
    const std::vector<double> sums =
        SumRows(rows_, 3 * channels_, kRowsPerSum, [&](int64_t begin, int64_t end, float* part) {
          AddGradientSums(x + begin * channels_, dy + begin * channels_, end - begin, channels_, affine,
                          {part, part + channels_, part + 2 * channels_});
        });
    for (int64_t c = 0; c < channels_; ++c) {
      run.parameter_gradients[slope_][c] = static_cast<float>(sums[2 * channels_ + c]);
    }
    if (!uses[0].wanted) { return; }
    T* const dx = run.GradientAt<T>(inputs[0]);
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      ApplyGradient(x + begin * channels_, dy + begin * channels_, end - begin, channels_, affine, zeros_.data(),
                    zeros_.data(), uses[0].adds, dx + begin * channels_);
    });
  }

  std::vector<int> ReadBackward() const override { return {inputs[0]}; }
  bool HasParameters() const override { return true; }

 private:
  ChannelAffine Identity(const Run& run) const {
    return {zeros_.data(), ones_.data(), zeros_.data(), run.parameters[slope_]};
  }

  const int slope_;
  const int64_t channels_, rows_;
  const std::vector<float> zeros_, ones_;
};

template<typename T>
class DropoutLayer final : public Layer {
 public:
  DropoutLayer(int input, int output, const ValueShape& shape, int64_t batch, int64_t first, float drop, bool training)
      : Layer({input}, output),
        shape_(shape),
        rows_(batch * shape.Pixels()),
        first_(first),
        scale_(1 / (1 - drop)),
        training_(training) {}

  void Forward(const Run& run) override {
    const T* const x = run.ValueAt<const T>(inputs[0]);
    if (training_) {
      Mask(run, x, false, run.ValueAt<T>(output));
    } else {
      Convert(x, run.ValueAt<T>(output), rows_ * shape_.channels);
    }
  }
  void Backward(const Run& run) override {
    if (!uses[0].wanted) { return; }
    Mask(run, run.GradientAt<const T>(output), uses[0].adds, run.GradientAt<T>(inputs[0]));
  }

 private:
  void Mask(const Run& run, const T* from, bool adds, T* to) const {
    const int64_t channels = shape_.channels, pixels = shape_.Pixels();
    ParallelRows(rows_, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const uint8_t* const keep = run.keep + row / pixels * run.keep_width + first_ + row % pixels;
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t at = row * channels + c;
          const float value = keep[c * pixels] != 0 ? Load(from[at]) * scale_ : 0.0f;
          Store(adds ? Load(to[at]) + value : value, to + at);
        }
      }
    });
  }

  const ValueShape shape_;
  const int64_t rows_, first_;
  const float scale_;
  const bool training_;
};

// A function of one number and its derivative, given by the function's result.
struct Activation {
  const char* name;
  float (*function)(float);
  float (*slope_at)(float result);
};

constexpr Activation kActivations[] = {
    {"relu", [](float x) { return x > 0 ? x : 0.0f; }, [](float y) { return y > 0 ? 1.0f : 0.0f; }},
    {"sigmoid", [](float x) { return 1 / (1 + std::exp(-x)); }, [](float y) { return y * (1 - y); }},
    {"tanh", [](float x) { return std::tanh(x); }, [](float y) { return 1 - y * y; }},
};

template<typename T>
class ActivationLayer final : public Layer {
 public:
  ActivationLayer(const Activation& activation, int input, int output, int64_t count)
      : Layer({input}, output), activation_(activation), count_(count) {}

  void Forward(const Run& run) override {
    const T* const x = run.ValueAt<const T>(inputs[0]);
    T* const y = run.ValueAt<T>(output);
    ParallelRows(count_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) { Store(activation_.function(Load(x[i])), y + i); }
    });
  }
  void Backward(const Run& run) override {
    if (!uses[0].wanted) { return; }
    const T* const y = run.ValueAt<const T>(output);
    const T* const dy = run.GradientAt<const T>(output);
    T* const dx = run.GradientAt<T>(inputs[0]);
    ParallelRows(count_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float gradient = Load(dy[i]) * activation_.slope_at(Load(y[i]));
        Store(uses[0].adds ? Load(dx[i]) + gradient : gradient, dx + i);
      }
    });
  }
  std::vector<int> ReadBackward() const override { return {output}; }

 private:
  const Activation activation_;
  const int64_t count_;
};

}  // namespace

std::unique_ptr<Layer> MakeImageLayer(int output, const Value& out, int64_t batch, float mean, float scale) {
  return MakeOfType<ImageLayer>(out.type, output, out.shape, batch, mean, scale);
}

std::unique_ptr<Layer> MakeEmbeddingLayer(int input, const Value& in, int64_t batch) {
  return MakeOfType<EmbeddingLayer>(in.type, input, batch * in.shape.Count());
}

std::unique_ptr<Layer> MakeAddLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch) {
  return MakeOfType<AddLayer>(value.type, inputs, output, batch * value.shape.Count());
}

std::unique_ptr<Layer> MakePreluLayer(int input, int output, const Value& value, int64_t batch, int slope) {
  return MakeOfType<PreluLayer>(value.type, input, output, value.shape, batch, slope);
}

std::unique_ptr<Layer> MakeDropoutLayer(int input, int output, const Value& value, int64_t batch, int64_t first,
                                        float drop, bool training) {
  return MakeOfType<DropoutLayer>(value.type, input, output, value.shape, batch, first, drop, training);
}

std::unique_ptr<Layer> MakeActivationLayer(const std::string& name, int input, int output, const Value& value,
                                           int64_t batch) {
  for (const Activation& activation : kActivations) {
    if (name == activation.name) {
      return MakeOfType<ActivationLayer>(value.type, activation, input, output, batch * value.shape.Count());
    }
  }
  return nullptr;
}

}  // namespace insightface
