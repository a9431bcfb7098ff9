// The time loop of a fused recurrent cell and its backward: what `nasforge/executors/loops.py` says, in C++.
//
// The architecture is data, so one build serves all of them. Matrix products are done by the Fortran BLAS that torch
// brings (a pointer to ?gemm_ with 32-bit integers); everything between two products is one pass over memory.
//
// Gates of +-1e3 are exactly 1 and 0, and what is not a number stays so: no -ffast-math.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

enum Activation : int32_t { TANH = 0, RELU = 1, SIGMOID = 2, IDENTITY = 3 };

// exp --------------------------------------------------------------------------------------------------------------

// 2^n from the sum z = n + 1.5 * 2^23, whose lowest bits hold n: no conversion, so nothing is undefined for NaN.
inline float power_of_two(float z) {
    uint32_t bits;
    std::memcpy(&bits, &z, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return scale;
}

struct Reduced {
    float scale;      // 2^n
    float remainder;  // x - n ln 2, at most 0.35 in size
};

// Bounds are chosen so that 2^n becomes infinite, or zero, by itself: n is 128, or -127.
inline Reduced reduce(float x) {
    x = x > 89.0f ? 89.0f : x;
    x = x < -88.0f ? -88.0f : x;
    const float shift = 12582912.0f;
    const float z = x * 1.44269504f + shift;
    const float n = z - shift;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    return {power_of_two(z), r};
}

// (e^r - 1) / r - 1 over r, by the series; the first omitted term is 3e-8 of the value.
inline float series(float r) {
    float p = 1.9841270e-4f;
    p = p * r + 1.3888889e-3f;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 0.5f;
    return p;
}

inline float exponential(float x) {
    const Reduced at = reduce(x);
    const float r = at.remainder;
    return (1.0f + (r + r * r * series(r))) * at.scale;
}

inline double exponential(double x) { return std::exp(x); }

// tanh |x| = m / (m + 2) with m = e^(2|x|) - 1, which keeps the digits of small values.
inline float tangent(float x) {
    const float size = std::fabs(x);
    const Reduced at = reduce(size > 20.0f ? 40.0f : 2.0f * size);
    const float r = at.remainder;
    const float m = at.scale * (r + r * r * series(r)) + (at.scale - 1.0f);
    return std::copysign(m / (m + 2.0f), x);
}

inline double tangent(double x) { return std::tanh(x); }

template <typename T>
inline T logistic(T x) {
    return T(1) / (T(1) + exponential(-x));
}

// Activations ------------------------------------------------------------------------------------------------------

template <int32_t kind, typename T>
inline T activated(T x) {
    if (kind == TANH) return tangent(x);
    if (kind == RELU) return x < T(0) ? T(0) : x;
    if (kind == SIGMOID) return logistic(x);
    return x;
}

// The derivative from the value y; of relu where y is not a number: 1, as torch has it.
template <int32_t kind, typename T>
inline T derivative(T y) {
    if (kind == TANH) return T(1) - y * y;
    if (kind == RELU) return y <= T(0) ? T(0) : T(1);
    if (kind == SIGMOID) return (T(1) - y) * y;
    return T(1);
}

// In 16 partial sums: without -ffast-math one sum would wait for each addition.
template <typename T>
inline T product(const T* x, const T* y, int64_t n) {
    T parts[16] = {};
    int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int k = 0; k < 16; ++k) parts[k] += x[j + k] * y[j + k];
    }
    for (; j < n; ++j) parts[j % 16] += x[j] * y[j];
    T sum = 0;
    for (int k = 0; k < 16; ++k) sum += parts[k];
    return sum;
}

// Data -------------------------------------------------------------------------------------------------------------

template <typename T>
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*,
                      const T*, const int*, const T*, T*, const int*);

}  // namespace

// One highway step; everything is contiguous.
struct Node {
    int32_t source;       // number of the node whose state it reads; -1 for the state of the step before
    int32_t activation;   // see Activation
    int32_t is_source;    // whether a later node reads it
    int32_t is_leaf;      // whether the output is a mean over it
    const void* weight;   // [width, 2 width]
    void* gates;          // [slots, batch, 2 width]
    void* state;          // [slots, batch, width]
    void* masked;         // [slots, batch, width] or null
    void* gradient;       // [batch, width]; backward only
    int64_t touched;      // scratch: whether something has been added to the gradient
};

struct Run {
    int64_t steps, batch, width, nodes, leaves;
    int64_t keep;          // whether slots are time steps; else there is one
    double limit;          // the largest norm of the output; 0 for none
    void* gemm;            // sgemm_ or dgemm_
    Node* node;
    const void* mask;      // [batch, width] or null
    void* projected;       // [steps, batch, 2 width]: becomes the gates of the first node
    void* history;         // [steps + 1, batch, width]
    void* history_masked;  // [slots, batch, width] or null
    void* norms;           // [slots, batch]
    const void* given;     // [steps, batch, width]: the gradient of the outputs; backward only
    void* carry;           // [batch, width]: the gradient of the state, of the initial one at the end; backward only
    void* total;           // [batch, width]; backward only
    void* through;         // [batch, width]; backward only
};

namespace {

template <typename T>
struct View {
    const Run& run;
    const int64_t rows, width, cells;
    const T* mask;

    explicit View(const Run& r)
        : run(r), rows(r.batch), width(r.width), cells(r.batch * r.width), mask(static_cast<const T*>(r.mask)) {}

    int64_t slot(int64_t t) const { return run.keep ? t : 0; }
    T* history(int64_t t) const { return static_cast<T*>(run.history) + t * cells; }
    T* history_masked(int64_t t) const { return static_cast<T*>(run.history_masked) + slot(t) * cells; }
    T* norms(int64_t t) const { return static_cast<T*>(run.norms) + slot(t) * rows; }
    T* state(int64_t i, int64_t t) const { return static_cast<T*>(run.node[i].state) + slot(t) * cells; }
    T* masked(int64_t i, int64_t t) const { return static_cast<T*>(run.node[i].masked) + slot(t) * cells; }
    T* gates(int64_t i, int64_t t) const {
        if (i == 0) return static_cast<T*>(run.projected) + t * 2 * cells;
        return static_cast<T*>(run.node[i].gates) + slot(t) * 2 * cells;
    }
    // What the highway step of node i reads at time t.
    const T* source(int64_t i, int64_t t) const {
        return run.node[i].source < 0 ? history(t) : state(run.node[i].source, t);
    }

    // out [batch, 2 width] = x [batch, width] weight (+ out)
    void forth(const T* x, const T* weight, T* out, T beta) const {
        const int m = static_cast<int>(2 * width), n = static_cast<int>(rows), k = static_cast<int>(width);
        const T one = 1;
        reinterpret_cast<Gemm<T>>(run.gemm)("N", "N", &m, &n, &k, &one, weight, &m, x, &k, &beta, out, &m);
    }
    // out [batch, width] = x [batch, 2 width] weight^T (+ out)
    void back(const T* x, const T* weight, T* out, T beta) const {
        const int m = static_cast<int>(width), n = static_cast<int>(rows), k = static_cast<int>(2 * width);
        const T one = 1;
        reinterpret_cast<Gemm<T>>(run.gemm)("T", "N", &m, &n, &k, &one, weight, &k, x, &k, &beta, out, &m);
    }
};

// Forward ----------------------------------------------------------------------------------------------------------

template <int32_t kind, typename T>
void highway(const View<T>& v, T* gates, const T* source, T* state, T* masked) {
    for (int64_t b = 0; b < v.rows; ++b) {
        T* __restrict candidate = gates + b * 2 * v.width;
        T* __restrict gate = candidate + v.width;
        const T* __restrict s = source + b * v.width;
        T* __restrict out = state + b * v.width;
        for (int64_t j = 0; j < v.width; ++j) {
            const T f = activated<kind>(candidate[j]);
            const T c = logistic(gate[j]);
            candidate[j] = f;
            gate[j] = c;
            // At an open end exactly one of the two, as torch.lerp has it.
            out[j] = c < T(0.5) ? s[j] + c * (f - s[j]) : f - (f - s[j]) * (T(1) - c);
        }
        if (masked != nullptr) {
            const T* __restrict m = v.mask + b * v.width;
            T* __restrict to = masked + b * v.width;
            for (int64_t j = 0; j < v.width; ++j) to[j] = out[j] * m[j];
        }
    }
}

template <typename T>
void mean_and_clip(const View<T>& v, int64_t t) {
    const Run& run = v.run;
    T* __restrict output = v.history(t + 1);
    bool begun = false;
    for (int64_t i = 0; i < run.nodes; ++i) {
        if (!run.node[i].is_leaf) continue;
        const T* __restrict leaf = v.state(i, t);
        if (begun) {
            for (int64_t j = 0; j < v.cells; ++j) output[j] += leaf[j];
        } else {
            std::memcpy(output, leaf, v.cells * sizeof(T));
        }
        begun = true;
    }
    if (run.leaves > 1) {
        const T count = static_cast<T>(run.leaves);
        for (int64_t j = 0; j < v.cells; ++j) output[j] /= count;
    }
    if (run.limit <= 0) return;
    const T limit = static_cast<T>(run.limit);
    for (int64_t b = 0; b < v.rows; ++b) {
        T* row = output + b * v.width;
        const T norm = std::sqrt(product(row, row, v.width));
        v.norms(t)[b] = norm;
        // Written so that a norm that is no number makes the row so.
        const T scale = norm <= limit ? T(1) : limit / norm;
        if (scale != T(1)) {
            for (int64_t j = 0; j < v.width; ++j) row[j] *= scale;
        }
    }
}

template <typename T>
void forward(const Run& run) {
    const View<T> v(run);
    for (int64_t t = 0; t < run.steps; ++t) {
        for (int64_t i = 0; i < run.nodes; ++i) {
            const Node& node = run.node[i];
            const T* source = v.source(i, t);
            const T* before = source;
            if (v.mask != nullptr) {
                if (i == 0) {
                    T* __restrict to = v.history_masked(t);
                    for (int64_t j = 0; j < v.cells; ++j) to[j] = source[j] * v.mask[j];
                    before = to;
                } else {
                    before = v.masked(node.source, t);
                }
            }
            T* gates = v.gates(i, t);
            v.forth(before, static_cast<const T*>(node.weight), gates, i == 0 ? T(1) : T(0));
            T* state = v.state(i, t);
            T* masked = v.mask != nullptr && node.is_source ? v.masked(i, t) : nullptr;
            switch (node.activation) {
                case TANH: highway<TANH>(v, gates, source, state, masked); break;
                case RELU: highway<RELU>(v, gates, source, state, masked); break;
                case SIGMOID: highway<SIGMOID>(v, gates, source, state, masked); break;
                default: highway<IDENTITY>(v, gates, source, state, masked);
            }
        }
        mean_and_clip(v, t);
    }
}

// Backward ---------------------------------------------------------------------------------------------------------

// With y = x s, s = L / |x|: dx = s (dy - y (y . dy) / L^2); of rows within the limit nothing changes.
template <typename T>
void clip_backward(const View<T>& v, int64_t t, T* gradient) {
    const T limit = static_cast<T>(v.run.limit);
    for (int64_t b = 0; b < v.rows; ++b) {
        const T norm = v.norms(t)[b];
        if (norm < limit) continue;
        const T* __restrict y = v.history(t + 1) + b * v.width;
        T* __restrict g = gradient + b * v.width;
        const T scale = limit / norm;
        const T along = product(g, y, v.width) * scale / (limit * limit);
        for (int64_t j = 0; j < v.width; ++j) g[j] = g[j] * scale - y[j] * along;
    }
}

// s = p + c (f - p): the gradients of both pre-activations in place of f and c, that of p to `target`.
template <int32_t kind, bool add, typename T>
void highway_backward(const View<T>& v, T* gates, const T* source, const T* gradient, T* target) {
    for (int64_t b = 0; b < v.rows; ++b) {
        T* __restrict candidate = gates + b * 2 * v.width;
        T* __restrict gate = candidate + v.width;
        const T* __restrict s = source + b * v.width;
        const T* __restrict g = gradient + b * v.width;
        T* __restrict to = target + b * v.width;
        for (int64_t j = 0; j < v.width; ++j) {
            const T f = candidate[j], c = gate[j], closed = T(1) - c;
            candidate[j] = g[j] * (c * derivative<kind>(f));
            gate[j] = g[j] * ((f - s[j]) * c * closed);
            to[j] = add ? to[j] + g[j] * closed : g[j] * closed;
        }
    }
}

template <int32_t kind, typename T>
void step_back(const View<T>& v, T* gates, const T* source, const T* gradient, T* target, bool add) {
    if (add) {
        highway_backward<kind, true>(v, gates, source, gradient, target);
    } else {
        highway_backward<kind, false>(v, gates, source, gradient, target);
    }
}

template <typename T>
void backward(const Run& run) {
    const View<T> v(run);
    T* carry = static_cast<T*>(run.carry);
    T* __restrict total = static_cast<T*>(run.total);
    T* through = static_cast<T*>(run.through);
    std::memset(carry, 0, v.cells * sizeof(T));
    for (int64_t t = run.steps - 1; t >= 0; --t) {
        const T* __restrict given = static_cast<const T*>(run.given) + t * v.cells;
        for (int64_t j = 0; j < v.cells; ++j) total[j] = given[j] + carry[j];
        if (run.limit > 0) clip_backward(v, t, total);
        if (run.leaves > 1) {
            const T count = static_cast<T>(run.leaves);
            for (int64_t j = 0; j < v.cells; ++j) total[j] /= count;
        }
        for (int64_t i = 0; i < run.nodes; ++i) {
            Node& node = run.node[i];
            node.touched = node.is_leaf;
            if (node.is_leaf) std::memcpy(node.gradient, total, v.cells * sizeof(T));
        }
        // Whoever reads a node comes after it. The first that adds to a gradient writes it instead.
        for (int64_t i = run.nodes - 1; i >= 0; --i) {
            const Node& node = run.node[i];
            T* own = static_cast<T*>(node.gradient);
            if (!node.touched) std::memset(own, 0, v.cells * sizeof(T));
            T* target = carry;
            bool add = false;  // only the first node reads the state
            if (node.source >= 0) {
                Node& read = run.node[node.source];
                target = static_cast<T*>(read.gradient);
                add = read.touched != 0;
                read.touched = 1;
            }
            T* gates = v.gates(i, t);
            const T* source = v.source(i, t);
            switch (node.activation) {
                case TANH: step_back<TANH>(v, gates, source, own, target, add); break;
                case RELU: step_back<RELU>(v, gates, source, own, target, add); break;
                case SIGMOID: step_back<SIGMOID>(v, gates, source, own, target, add); break;
                default: step_back<IDENTITY>(v, gates, source, own, target, add);
            }
            const T* weight = static_cast<const T*>(node.weight);
            if (v.mask == nullptr) {
                v.back(gates, weight, target, T(1));
            } else {
                v.back(gates, weight, through, T(0));
                for (int64_t j = 0; j < v.cells; ++j) target[j] += through[j] * v.mask[j];
            }
        }
    }
}

}  // namespace

// Changes whenever the structures above do; the caller refuses another.
EXPORT int32_t nasforge_layout() { return 1; }

EXPORT void nasforge_forward_float(const Run* run) { forward<float>(*run); }
EXPORT void nasforge_forward_double(const Run* run) { forward<double>(*run); }
EXPORT void nasforge_backward_float(const Run* run) { backward<float>(*run); }
EXPORT void nasforge_backward_double(const Run* run) { backward<double>(*run); }
