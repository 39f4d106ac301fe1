// Measures the minimum time of a network's convolutions, computed as direct sums by oneDNN on this machine: tensors
// already channels-last, weights in the fastest layout, with the fastest implementation. Training adds everything else.
//
// Usage: conv_limit f32|bf16 forward|train SECONDS < shapes
// Each line of stdin: batch channels size filters kernel stride pad groups times first
// Prints one number: the sum over all convolutions of the shortest time of each, seconds. "train" adds the filter gradient,
// and the data gradient except for convolutions with first = 1, which read the images.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"

namespace {

using dnnl::memory;
using Tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;

struct Shape {
    memory::dim batch, channels, size, filters, kernel, stride, pad, groups;
    int times, first;
};

std::istream& operator>>(std::istream& in, Shape& s) {
    return in >> s.batch >> s.channels >> s.size >> s.filters >> s.kernel >> s.stride >> s.pad >> s.groups >> s.times >>
           s.first;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Limit {
public:
    Limit(memory::data_type type, double seconds_each) : type_(type), seconds_each_(seconds_each) {}

    double measure(const Shape& s, bool train) {
        const auto out = (s.size + 2 * s.pad - s.kernel) / s.stride + 1;
        const memory::desc src({s.batch, s.channels, s.size, s.size}, type_, Tag::nhwc);
        const memory::desc dst({s.batch, s.filters, out, out}, type_, Tag::nhwc);
        const memory::desc weights = weights_desc(s, type_);
        const memory::dims strides{s.stride, s.stride}, pads{s.pad, s.pad};
        const auto direct = dnnl::algorithm::convolution_direct;
        const auto kind = train ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;

        using Forward = dnnl::convolution_forward;
        const Forward::primitive_desc forward(engine_, kind, direct, src, weights, dst, strides, pads, pads);
        double total = best_time<Forward>(forward, [&](const Forward::primitive_desc& d) {
            return Arguments{{DNNL_ARG_SRC, fill(d.src_desc())},
                             {DNNL_ARG_WEIGHTS, fill(d.weights_desc())},
                             {DNNL_ARG_DST, fill(d.dst_desc())}};
        });
        if (!train) return total * s.times;

        // Weights are stored and updated in float32, so their gradient is float32 too.
        using Filter = dnnl::convolution_backward_weights;
        const auto gradient = weights_desc(s, memory::data_type::f32);
        const Filter::primitive_desc filter(engine_, direct, src, gradient, dst, strides, pads, pads, forward);
        total += best_time<Filter>(filter, [&](const Filter::primitive_desc& d) {
            return Arguments{{DNNL_ARG_SRC, fill(d.src_desc())},
                             {DNNL_ARG_DIFF_DST, fill(d.diff_dst_desc())},
                             {DNNL_ARG_DIFF_WEIGHTS, fill(d.diff_weights_desc())}};
        });
        if (s.first) return total * s.times;

        using Data = dnnl::convolution_backward_data;
        const Data::primitive_desc data(engine_, direct, src, weights, dst, strides, pads, pads, forward);
        total += best_time<Data>(data, [&](const Data::primitive_desc& d) {
            return Arguments{{DNNL_ARG_DIFF_DST, fill(d.diff_dst_desc())},
                             {DNNL_ARG_WEIGHTS, fill(d.weights_desc())},
                             {DNNL_ARG_DIFF_SRC, fill(d.diff_src_desc())}};
        });
        return total * s.times;
    }

private:
    static memory::desc weights_desc(const Shape& s, memory::data_type type) {
        const auto out = s.filters / s.groups, in = s.channels / s.groups;
        if (s.groups == 1) return {{out, in, s.kernel, s.kernel}, type, Tag::any};
        return {{s.groups, out, in, s.kernel, s.kernel}, type, Tag::any};
    }

    // The same byte everywhere is about 0.75 in float32 and in bfloat16.
    memory fill(const memory::desc& desc) {
        memory result(desc, engine_);
        std::memset(result.get_data_handle(), 0x3f, desc.get_size());
        return result;
    }

    // The first implementation that oneDNN offers is not always its fastest.
    template <typename Primitive, typename Bind>
    double best_time(typename Primitive::primitive_desc desc, Bind bind) {
        double best = std::numeric_limits<double>::infinity();
        do {
            if (std::string(desc.impl_info_str()).find("ref") == std::string::npos || std::isinf(best))
                best = std::min(best, time(Primitive(desc), bind(desc), best));
        } while (desc.next_impl());
        return best;
    }

    // Stops early if the implementation is clearly slower than `best`.
    double time(const dnnl::primitive& primitive, const Arguments& arguments, double best) {
        const auto run = [&] {
            const auto start = std::chrono::steady_clock::now();
            primitive.execute(stream_, arguments);
            stream_.wait();
            return seconds_since(start);
        };
        run();
        double least = run();
        const auto begin = std::chrono::steady_clock::now();
        while (least < 2 * best && seconds_since(begin) < seconds_each_) least = std::min(least, run());
        return least;
    }

    memory::data_type type_;
    double seconds_each_;
    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: conv_limit f32|bf16 forward|train SECONDS < shapes\n";
        return 2;
    }
    const auto type = std::string(argv[1]) == "bf16" ? memory::data_type::bf16 : memory::data_type::f32;
    const bool train = std::string(argv[2]) == "train";
    std::vector<Shape> shapes;
    for (Shape shape; std::cin >> shape;) shapes.push_back(shape);
    try {
        constexpr int implementations = 2;  // more are rarely faster
        Limit limit(type, std::stod(argv[3]) / (shapes.size() * (train ? 3 : 1) * implementations));
        double total = 0;
        for (const auto& shape : shapes) total += limit.measure(shape, train);
        std::cout << total << std::endl;
    } catch (const dnnl::error& error) {
        std::cerr << "oneDNN: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
