#include "single_ops/matmul.h"

#include <memory>
#include <string>

#include "base/alignment.h"
#include "base/lru_cache.h"
#include "base/onednn.h"

namespace insightface {
namespace {

using dnnl::memory;

constexpr size_t kCachedPrimitives = 64;

struct Product {
  memory::desc a, b, out, scratchpad;
  dnnl::matmul primitive;
};

memory::desc Describe(int64_t rows, int64_t columns, bool transposed) {
  return {{rows, columns}, memory::data_type::f32, transposed ? memory::format_tag::ba : memory::format_tag::ab};
}

std::shared_ptr<const Product> MakeProduct(const MatmulShape& s, float alpha, bool adds) {
  auto product = std::make_shared<Product>();
  product->a = Describe(s.rows, s.inner, s.a_transposed != 0);
  product->b = Describe(s.inner, s.columns, s.b_transposed != 0);
  product->out = Describe(s.rows, s.columns, false);
  dnnl::primitive_attr attributes = CallersScratchpad();
  dnnl::post_ops operations;
  if (alpha != 1) { operations.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0); }
  if (adds) { operations.append_sum(); }
  attributes.set_post_ops(operations);
  const dnnl::matmul::primitive_desc description(OneDnnEngine(), product->a, product->b, product->out, attributes);
  product->scratchpad = description.scratchpad_desc();
  product->primitive = dnnl::matmul(description);
  return product;
}

std::string Key(const MatmulShape& s, float alpha, bool adds) {
  std::string key;
  for (const int64_t number : {s.rows, s.inner, s.columns, s.a_transposed, s.b_transposed, int64_t{adds}}) {
    key += std::to_string(number) + ' ';
  }
  return key + std::to_string(alpha);
}

}  // namespace

void Matmul(const MatmulShape& shape, const float* a, const float* b, float alpha, bool adds, float* out) {
  static LruCache<std::string, Product, std::hash<std::string>> products(kCachedPrimitives);
  const auto product = products.Get(Key(shape, alpha, adds), [&] { return MakeProduct(shape, alpha, adds); });
  const size_t bytes = product->scratchpad.get_size();
  Workspace workspace(nullptr, 0, AlignedSize(bytes) + kAlignment);
  product->primitive.execute(OneDnnStream(),
                             {{DNNL_ARG_SRC, AsMemory(product->a, a)},
                              {DNNL_ARG_WEIGHTS, AsMemory(product->b, b)},
                              {DNNL_ARG_DST, AsMemory(product->out, out)},
                              {DNNL_ARG_SCRATCHPAD, AsMemory(product->scratchpad, workspace.Allocate(bytes))}});
}

}  // namespace insightface
