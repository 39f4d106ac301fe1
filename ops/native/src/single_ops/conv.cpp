#include "single_ops/conv.h"

#include <cstring>
#include <memory>
#include <unordered_map>

#include "base/alignment.h"
#include "base/lru_cache.h"
#include "base/onednn.h"
#include "single_ops/global_conv.h"
#include "single_ops/pointwise_conv.h"

namespace insightface {
namespace {

using dnnl::memory;

constexpr size_t kCachedPrimitives = 1024;

// One of the primitive's tensors: OneFlow's layout, the one oneDNN asked for, and the conversion between them.
struct Operand {
  memory::desc plain;
  memory::desc inner;
  bool written;
  dnnl::reorder reorder;  // to `inner` for tensors that are read, to `plain` for those that are written
  memory::desc reorder_scratchpad;

  bool Reordered() const { return plain != inner; }
};

struct Conv {
  Operand input, filter, output;
  memory::desc bias;
  memory::desc scratchpad;
  dnnl::primitive primitive;
  size_t workspace_bytes;
};

struct ConvKey {
  ConvShape shape;
  int64_t pass;
  int64_t has_bias;

  bool operator==(const ConvKey& other) const { return std::memcmp(this, &other, sizeof(ConvKey)) == 0; }
};

struct ConvKeyHash {
  size_t operator()(const ConvKey& key) const {
    static_assert(sizeof(ConvKey) % sizeof(int64_t) == 0, "compared and hashed as whole numbers without gaps");
    int64_t numbers[sizeof(ConvKey) / sizeof(int64_t)];
    std::memcpy(numbers, &key, sizeof(key));
    uint64_t hash = 14695981039346656037ULL;  // FNV-1a
    for (const int64_t number : numbers) { hash = (hash ^ static_cast<uint64_t>(number)) * 1099511628211ULL; }
    return static_cast<size_t>(hash ^ (hash >> 32));
  }
};

Operand MakeOperand(const memory::desc& plain, const memory::desc& inner, bool written) {
  Operand operand{plain, inner, written, {}, {}};
  if (operand.Reordered()) {
    const dnnl::engine& engine = OneDnnEngine();
    const dnnl::primitive_attr attributes = CallersScratchpad();
    const dnnl::reorder::primitive_desc desc(engine, written ? inner : plain, engine, written ? plain : inner,
                                             attributes);
    operand.reorder = dnnl::reorder(desc);
    operand.reorder_scratchpad = desc.scratchpad_desc();
  }
  return operand;
}

std::shared_ptr<const Conv> MakeConv(ConvPass pass, const ConvShape& s, bool has_bias) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  const memory::dims input{s.batch, s.in_channels, s.in_h, s.in_w};
  const memory::dims output{s.batch, s.out_channels, s.out_h, s.out_w};
  const bool grouped = s.groups > 1;
  const memory::dims filter =
      grouped ? memory::dims{s.groups, s.out_channels / s.groups, s.in_channels / s.groups, s.kernel_h, s.kernel_w}
              : memory::dims{s.out_channels, s.in_channels, s.kernel_h, s.kernel_w};
  const memory::dims strides{s.stride_h, s.stride_w};
  const memory::dims dilates{s.dilation_h - 1, s.dilation_w - 1};
  const memory::dims before{s.pad_top, s.pad_left};
  // Negative where the stride leaves a remainder at the end.
  const memory::dims after{
      (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1 - s.in_h - s.pad_top,
      (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1 - s.in_w - s.pad_left,
  };
  const memory::desc any_input(input, f32, tag::any), any_filter(filter, f32, tag::any),
      any_output(output, f32, tag::any);
  const memory::desc plain_input(input, f32, tag::nchw), plain_output(output, f32, tag::nchw);
  const memory::desc plain_filter(filter, f32, grouped ? tag::goihw : tag::oihw);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::primitive_attr attributes = CallersScratchpad();

  auto conv = std::make_shared<Conv>();
  if (has_bias) { conv->bias = memory::desc({s.out_channels}, f32, tag::x); }
  const dnnl::convolution_forward::primitive_desc forward(OneDnnEngine(), dnnl::prop_kind::forward_training, algorithm,
                                                          any_input, any_filter, conv->bias, any_output, strides,
                                                          dilates, before, after, attributes);
  const auto finish = [&](const memory::desc& in, const memory::desc& weights, const memory::desc& out,
                          const memory::desc& scratchpad) {
    conv->input = MakeOperand(plain_input, in, pass == ConvPass::kDataGrad);
    conv->filter = MakeOperand(plain_filter, weights, pass == ConvPass::kFilterGrad);
    conv->output = MakeOperand(plain_output, out, pass == ConvPass::kForward);
    conv->scratchpad = scratchpad;
  };
  if (pass == ConvPass::kForward) {
    finish(forward.src_desc(), forward.weights_desc(), forward.dst_desc(), forward.scratchpad_desc());
    conv->primitive = dnnl::convolution_forward(forward);
  } else if (pass == ConvPass::kDataGrad) {
    const dnnl::convolution_backward_data::primitive_desc desc(OneDnnEngine(), algorithm, any_input, any_filter,
                                                               any_output, strides, dilates, before, after, forward,
                                                               attributes);
    finish(desc.diff_src_desc(), desc.weights_desc(), desc.diff_dst_desc(), desc.scratchpad_desc());
    conv->primitive = dnnl::convolution_backward_data(desc);
  } else {
    const auto desc = SkipFaultyImplementation({OneDnnEngine(), algorithm, any_input, any_filter, any_output, strides,
                                                dilates, before, after, forward, attributes});
    finish(desc.src_desc(), desc.diff_weights_desc(), desc.diff_dst_desc(), desc.scratchpad_desc());
    conv->primitive = dnnl::convolution_backward_weights(desc);
  }

  conv->workspace_bytes = kAlignment + AlignedSize(conv->scratchpad.get_size());
  for (const Operand* operand : {&conv->input, &conv->filter, &conv->output}) {
    if (operand->Reordered()) {
      conv->workspace_bytes += AlignedSize(operand->inner.get_size());
      conv->workspace_bytes += AlignedSize(operand->reorder_scratchpad.get_size());
    }
  }
  return conv;
}

std::shared_ptr<const Conv> GetConv(ConvPass pass, const ConvShape& shape, bool has_bias) {
  // Never destroyed: OneFlow's threads may still compute while the process exits.
  static auto* const cache = new LruCache<ConvKey, Conv, ConvKeyHash>(kCachedPrimitives);
  const ConvKey key{shape, static_cast<int64_t>(pass), has_bias ? 1 : 0};
  return cache->Get(key, [&] { return MakeConv(pass, shape, has_bias); });
}

// The memory of an operand during one call.
class Bound {
 public:
  Bound(const Operand& operand, float* data, Workspace* workspace)
      : operand_(operand), plain_(operand.plain, OneDnnEngine(), data) {
    if (operand.Reordered()) {
      inner_ = memory(operand.inner, OneDnnEngine(), workspace->Allocate(operand.inner.get_size()));
      scratchpad_ = memory(operand.reorder_scratchpad, OneDnnEngine(),
                           workspace->Allocate(operand.reorder_scratchpad.get_size()));
    } else {
      inner_ = plain_;
    }
  }

  memory Inner() const { return inner_; }

  void BeforePrimitive() const {
    if (operand_.Reordered() && !operand_.written) { Reorder(plain_, inner_); }
  }

  void AfterPrimitive() const {
    if (operand_.Reordered() && operand_.written) { Reorder(inner_, plain_); }
  }

 private:
  void Reorder(const memory& from, const memory& to) const {
    operand_.reorder.execute(OneDnnStream(),
                             {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, scratchpad_}});
  }

  const Operand& operand_;
  memory plain_, inner_, scratchpad_;
};

struct ArgumentIds {
  int input, filter, output;
};

ArgumentIds IdsOf(ConvPass pass) {
  switch (pass) {
    case ConvPass::kDataGrad: return {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST};
    case ConvPass::kFilterGrad: return {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST};
    default: return {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
  }
}

}  // namespace

size_t ConvWorkspaceBytes(ConvPass pass, const ConvShape& shape, bool has_bias) {
  if (IsGlobalDepthwise(shape) || IsPointwise(shape)) { return 0; }
  return GetConv(pass, shape, has_bias)->workspace_bytes;
}

void RunConv(ConvPass pass, const ConvShape& shape, const ConvTensors& tensors, void* workspace_memory,
             size_t workspace_bytes) {
  if (IsGlobalDepthwise(shape)) {
    RunGlobalDepthwise(pass, shape, tensors);
    return;
  }
  if (IsPointwise(shape)) {
    RunPointwise(pass, shape, tensors);
    return;
  }
  const auto conv = GetConv(pass, shape, tensors.bias != nullptr);
  Workspace workspace(workspace_memory, workspace_bytes, conv->workspace_bytes);
  const Bound input(conv->input, tensors.input, &workspace);
  const Bound filter(conv->filter, tensors.filter, &workspace);
  const Bound output(conv->output, tensors.output, &workspace);
  const ArgumentIds ids = IdsOf(pass);
  std::unordered_map<int, memory> arguments{
      {ids.input, input.Inner()},
      {ids.filter, filter.Inner()},
      {ids.output, output.Inner()},
      {DNNL_ARG_SCRATCHPAD, memory(conv->scratchpad, OneDnnEngine(), workspace.Allocate(conv->scratchpad.get_size()))},
  };
  if (tensors.bias != nullptr) { arguments.emplace(DNNL_ARG_BIAS, memory(conv->bias, OneDnnEngine(), tensors.bias)); }
  for (const Bound* bound : {&input, &filter, &output}) { bound->BeforePrimitive(); }
  conv->primitive.execute(OneDnnStream(), arguments);
  for (const Bound* bound : {&input, &filter, &output}) { bound->AfterPrimitive(); }
  OneDnnStream().wait();
}

}  // namespace insightface
