// The compiled form of the golden model: compiler/golden.py, code for code, over whole runs.
//
// Sequences do not meet, so a block of them is walked from the first step to the last. Products
// take 16 rows and a few sequences at a time: 16-bit integers summed in 32 bits where the caller
// has proven that no sum leaves them, and float64, exact to 53 bits, for all others. The structs
// have the fields of those in structures.py, in the same order.

#include <algorithm>
#include <cstdint>
#include <vector>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

using i16 = int16_t;
using i32 = int32_t;
using i64 = int64_t;

constexpr int ROWS = 16;   // rows of a tile of weights, as weights.py packs them
constexpr int BLOCK = 16;  // sequences that share one walk over the weights

enum Act { NONE, RELU, TANH, SIGMOID, HARD_TANH, HARD_SIGMOID };
enum Post { PASS, BLEND, LEAK, TIMES_H, TIMES, CELL };
enum Keep { DROP, KEEP_ACT, KEEP_POST };
enum To { NOWHERE, TO_H, TO_RH, TO_C };

struct Matrix {  // weights [tiles][columns][ROWS], of narrow ones [tiles][columns / 2][ROWS][2]
    i64 wide, rows, columns;
    const void* weights;
};

struct Delta {  // an operand that is passed on where it has changed; threshold -1: always
    i64 threshold;
    i64* last;
    uint8_t* changed;
};

struct Source {
    i64 vector, shift;
    Delta delta;
};

struct Gate {
    i64 act, bounded, from_c, walk, input, recurrent, from_rh, reset, post, by, keep, to;
    const i64 *shift_input, *shift_recurrent, *bias_input, *bias_recurrent;
    i64 *sums, *trace;  // or null
    i64 clipped, hidden_clipped;
};

struct Layer {
    i64 size, recurrent, walks, read, gate_count, source_count;
    Gate* gates;
    Source* sources;
    Matrix x, h, rh;
    Delta delta_h, delta_rh;
    i64 *state, *cell, *trace, *trace_cell;  // the cell and the traces may be null
    i64 operand_clipped, cell_clipped;
};

struct Run {
    i64 n, steps, inputs, layer_count, output_count, outputs, argmax;
    i64 activation_bits, state_bits, gate_bits, sum_shift, hidden_shift, hidden_bits, cell_bits,
        cell_frac, pre_bits, pre_frac, argument_bits, fraction_bits, direct, slope, slope_frac, guard;
    i64 table_size;
    const i32 *base, *rise;
    Layer* layers;
    const i64 *output_layers, *x;
    i64* out;
};

inline i64 round_shift(i64 v, i64 amount) { return amount ? (v + (i64(1) << (amount - 1))) >> amount : v; }
inline i64 shift(i64 v, i64 amount) { return amount >= 0 ? round_shift(v, amount) : v << -amount; }
inline i64 clip(i64 v, i64 low, i64 high) { return v < low ? low : v > high ? high : v; }
inline i64 clip(i64 v, i64 bits) { return clip(v, -(i64(1) << (bits - 1)), (i64(1) << (bits - 1)) - 1); }

// ---- products -------------------------------------------------------------------------------

struct Narrow {
    using Number = i16;
    typedef i32 Sums __attribute__((vector_size(32)));
    static constexpr int LANES = 8, PAIR = 2, TOGETHER = 4;
    static void add(Sums& sums, const i16* w, const i16* x) {
#ifdef __AVX2__
        i32 pair;
        __builtin_memcpy(&pair, x, 4);
        const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
        sums += (Sums)_mm256_madd_epi16(both, _mm256_set1_epi32(pair));
#else
        for (int r = 0; r < LANES; r++) sums[r] += i32(w[2 * r]) * x[0] + i32(w[2 * r + 1]) * x[1];
#endif
    }
};

struct Wide {
    using Number = double;
    typedef double Sums __attribute__((vector_size(32)));
    static constexpr int LANES = 4, PAIR = 1, TOGETHER = 2;
    static void add(Sums& sums, const double* w, const double* x) {
        Sums row;
        __builtin_memcpy(&row, w, sizeof row);
        sums += row * *x;
    }
};

// Multiply one tile of rows by S operands that lie `columns` apart.
template <class T, int S>
void tile(const typename T::Number* w, i64 columns, const typename T::Number* x, i64* out, i64 rows) {
    constexpr int PARTS = ROWS / T::LANES;
    typename T::Sums sums[S][PARTS] = {};
    for (i64 k = 0; k < columns; k += T::PAIR, w += ROWS * T::PAIR) {
#pragma GCC unroll 8
        for (int s = 0; s < S; s++)
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; p++)
                T::add(sums[s][p], w + p * T::LANES * T::PAIR, x + s * columns + k);
    }
    for (int s = 0; s < S; s++)
        for (int p = 0; p < PARTS; p++)
            for (int r = 0; r < T::LANES; r++) out[s * rows + p * T::LANES + r] = i64(sums[s][p][r]);
}

template <class T>
void product(const Matrix& m, const void* operands, i64 count, i64* out) {
    auto w = static_cast<const typename T::Number*>(m.weights);
    auto x = static_cast<const typename T::Number*>(operands);
    for (i64 row = 0; row < m.rows; row += ROWS, w += ROWS * m.columns) {
        i64 s = 0;
        for (; s + T::TOGETHER <= count; s += T::TOGETHER)
            tile<T, T::TOGETHER>(w, m.columns, x + s * m.columns, out + s * m.rows + row, m.rows);
        for (; s < count; s++)
            tile<T, 1>(w, m.columns, x + s * m.columns, out + s * m.rows + row, m.rows);
    }
}

// A matrix with the operands of a block of sequences, and the sums they give.
struct Product {
    const Matrix& m;
    std::vector<i16> narrow;
    std::vector<double> wide;
    std::vector<i64> sums;

    explicit Product(const Matrix& matrix)
        : m(matrix), narrow(m.wide ? 0 : BLOCK * m.columns), wide(m.wide ? BLOCK * m.columns : 0),
          sums(BLOCK * m.rows) {}

    void load(i64 s, i64 at, const i32* codes, i64 count, i64 amount) {
        if (!m.rows) return;
        if (m.wide)
            for (i64 i = 0; i < count; i++) wide[s * m.columns + at + i] = double(i64(codes[i]) << amount);
        else
            for (i64 i = 0; i < count; i++) narrow[s * m.columns + at + i] = i16(codes[i] << amount);
    }
    void run(i64 count) {
        if (!m.rows) return;
        if (m.wide)
            product<Wide>(m, wide.data(), count, sums.data());
        else
            product<Narrow>(m, narrow.data(), count, sums.data());
    }
};

// ---- one neuron after the other -------------------------------------------------------------

void pass_on(const Delta& d, i64 sequence, i64 step, i64 steps, i32* codes, i64 size) {
    if (d.threshold < 0) return;
    i64* last = d.last + sequence * size;
    uint8_t* changed = d.changed + (sequence * steps + step) * size;
    for (i64 i = 0; i < size; i++) {
        const i64 off = codes[i] - last[i];
        changed[i] = (off < 0 ? -off : off) > d.threshold;
        if (changed[i]) last[i] = codes[i];
        codes[i] = i32(last[i]);
    }
}

// Round states to operands; return how many were clipped by more than the rounding itself.
template <class Code>
i64 operand(const Run& run, const Code* state, i32* codes, i64 size) {
    i64 clipped = 0;
    const i64 drop = run.state_bits - run.activation_bits;
    for (i64 i = 0; i < size; i++) {
        const i64 rounded = round_shift(state[i], drop), value = clip(rounded, run.activation_bits);
        clipped += rounded - value > 1 || value - rounded > 1;
        codes[i] = i32(value);
    }
    return clipped;
}

// tanh of a table argument, with guard bits.
template <bool DIRECT>
inline i32 magnitude(const Run& run, i32 argument) {
    if (DIRECT) return run.base[std::min(round_shift(argument, run.fraction_bits), run.table_size - 1)];
    const i32 index = argument >> run.fraction_bits;
    const i32 rest = argument & ((1 << run.fraction_bits) - 1);
    const i32 half = run.fraction_bits ? 1 << (run.fraction_bits - 1) : 0;
    return run.base[index] + ((run.rise[index] * rest + half) >> run.fraction_bits);
}

template <bool DIRECT>
void tabled(const Run& run, bool tanh, const i32* pre, i32* a, i64 size) {
    const i32 guard = i32(run.guard), frac = i32(run.gate_bits - 1), top = (1 << frac) - 1;
    const i32 limit = (1 << run.argument_bits) - 1, one = 1 << (frac + guard);
    const Run local = run;
    if (tanh)
        for (i64 i = 0; i < size; i++) {
            const i32 size_of = pre[i] < 0 ? -pre[i] : pre[i];
            const i32 t = magnitude<DIRECT>(local, std::min(size_of << 1, limit));
            const i32 value = std::min((t + (1 << (guard - 1))) >> guard, top);
            a[i] = pre[i] < 0 ? -value : value;
        }
    else
        for (i64 i = 0; i < size; i++) {
            const i32 size_of = pre[i] < 0 ? -pre[i] : pre[i];
            const i32 t = magnitude<DIRECT>(local, std::min(size_of, limit));
            a[i] = ((pre[i] < 0 ? one - t : one + t) + (1 << guard)) >> (guard + 1);
        }
}

// Apply an activation; return how many results were clipped.
i64 activate(const Run& run, i64 act, const i32* pre, i32* a, i64 size) {
    const i64 frac = run.gate_bits - 1, top = (i64(1) << frac) - 1;
    i64 clipped = 0;
    switch (act) {
    case NONE:
    case RELU:
        for (i64 i = 0; i < size; i++) {
            const i32 v = act == RELU ? std::max(pre[i], 0) : pre[i];
            a[i] = i32(clip(v, run.state_bits));
            clipped += a[i] != v;
        }
        break;
    case HARD_TANH:
        for (i64 i = 0; i < size; i++) a[i] = i32(clip(shift(pre[i], run.pre_frac - frac), -top - 1, top));
        break;
    case HARD_SIGMOID:
        for (i64 i = 0; i < size; i++) {
            const i64 scaled = shift(pre[i] * run.slope, run.pre_frac + run.slope_frac - frac);
            a[i] = i32(clip(scaled + (i64(1) << frac >> 1), 0, top + 1));
        }
        break;
    default:
        (run.direct ? tabled<true> : tabled<false>)(run, act == TANH, pre, a, size);
    }
    return clipped;
}

// What a gate reads and writes of one sequence.
struct Row {
    const i64 *u, *v;  // products, or null
    const i64* old;
    i64* cell;
    const i32 *reset, *by;
    i64 at;  // of the sequence's step in the traces
};

void pre_activation(const Run& run, const Layer& layer, Gate& g, const Row& row, i64* sums, i32* pre) {
    const i64 size = layer.size;
    if (g.from_c) {
        const i64 amount = run.cell_frac - run.pre_frac;
        for (i64 i = 0; i < size; i++) pre[i] = i32(clip(shift(row.cell[i], amount), run.pre_bits));
        return;
    }
    const i64 drop = run.sum_shift, bits = run.pre_bits;
    const i64 *si = g.shift_input, *sr = g.shift_recurrent, *bi = g.bias_input, *br = g.bias_recurrent;
    if (row.u && row.v && !row.reset)
        for (i64 i = 0; i < size; i++) sums[i] = (row.u[i] << si[i]) + bi[i] + (row.v[i] << sr[i]) + br[i];
    else {
        const i64 amount = run.gate_bits - 1 - run.hidden_shift;
        i64 clipped = 0;
        for (i64 i = 0; i < size; i++) {
            const i64 u = (row.u ? row.u[i] << si[i] : 0) + bi[i];
            i64 v = (row.v ? row.v[i] << sr[i] : 0) + br[i];
            if (row.reset) {
                const i64 rounded = round_shift(v, run.hidden_shift), value = clip(rounded, run.hidden_bits);
                clipped += value != rounded;
                v = shift(i64(row.reset[i]) * i32(value), amount);
            }
            sums[i] = u + v;
        }
        g.hidden_clipped += clipped;
    }
    if (g.sums) std::copy(sums, sums + size, g.sums + row.at);
    for (i64 i = 0; i < size; i++) pre[i] = i32(clip(round_shift(sums[i], drop), bits));
}

// Combine an activation with what was kept and with the states.
void combine(const Run& run, const Gate& g, const Row& row, const i32* a, i64* y, i64 size) {
    const i64 frac = run.gate_bits - 1, align = g.bounded ? run.gate_bits - run.state_bits : 0;
    const i64* old = row.old;
    const i32* k = row.by ? row.by : a;
    switch (g.post) {
    case PASS:
        for (i64 i = 0; i < size; i++) y[i] = shift(a[i], align);
        break;
    case BLEND:
        for (i64 i = 0; i < size; i++) {
            const i64 value = shift(a[i], align);
            y[i] = value + round_shift(i64(k[i]) * i32(old[i] - value), frac);
        }
        break;
    case LEAK:
        for (i64 i = 0; i < size; i++)
            y[i] = old[i] + round_shift(i64(k[i]) * i32(shift(a[i], align) - old[i]), frac);
        break;
    case TIMES_H:
        for (i64 i = 0; i < size; i++) y[i] = round_shift(i64(a[i]) * i32(old[i]), frac);
        break;
    case TIMES: {
        const i64 amount = 2 * frac - (g.to == TO_H ? run.state_bits - 1 : run.cell_frac);
        for (i64 i = 0; i < size; i++) y[i] = shift(i64(k[i]) * a[i], amount);
        // Rounding can carry k * a just beyond the cell's top code.
        if (g.to != TO_H)
            for (i64 i = 0; i < size; i++) y[i] = clip(y[i], run.cell_bits);
        break;
    }
    default:
        for (i64 i = 0; i < size; i++) y[i] = round_shift(i64(a[i]) * row.cell[i], frac) + k[i];
    }
    if ((g.to == TO_H || g.to == NOWHERE) && !g.keep)
        for (i64 i = 0; i < size; i++) y[i] = clip(y[i], run.state_bits);
}

// A layer with its memory for a block of sequences.
struct Work {
    Layer& layer;
    Product x, h, rh;
    std::vector<i32> operand, kept, codes, pre;
    std::vector<i64> values, y;

    explicit Work(Layer& l)
        : layer(l), x(l.x), h(l.h), rh(l.rh), operand(l.read ? BLOCK * l.size : 0),
          kept(l.gate_count * BLOCK * l.size), codes(l.size), pre(l.size), values(BLOCK * l.size), y(l.size) {}

    i32* kept_of(i64 gate, i64 s) { return &kept[(gate * BLOCK + s) * layer.size]; }

    void gate(const Run& run, i64 index, i64 first, i64 s, i64 step) {
        Gate& g = layer.gates[index];
        const i64 size = layer.size, at = ((first + s) * run.steps + step) * size;
        Product& recurrent = g.from_rh ? rh : h;
        Row row;
        row.u = g.input < 0 ? nullptr : &x.sums[s * x.m.rows + g.input];
        row.v = g.recurrent < 0 ? nullptr : &recurrent.sums[s * recurrent.m.rows + g.recurrent];
        row.old = layer.recurrent ? layer.state + (first + s) * size : nullptr;
        row.cell = layer.cell ? layer.cell + (first + s) * size : nullptr;
        row.reset = g.reset < 0 ? nullptr : kept_of(g.reset, s);
        row.by = g.by < 0 ? nullptr : kept_of(g.by, s);
        row.at = at;
        i32* a = kept_of(index, s);
        pre_activation(run, layer, g, row, y.data(), pre.data());
        g.clipped += activate(run, g.act, pre.data(), a, size);
        if (g.trace) std::copy(a, a + size, g.trace + at);
        combine(run, g, row, a, y.data(), size);
        if (g.keep == KEEP_POST) std::copy(y.begin(), y.end(), a);
        if (g.to == TO_C) {
            for (i64 i = 0; i < size; i++) {
                row.cell[i] = clip(y[i], run.cell_bits);
                layer.cell_clipped += row.cell[i] != y[i];
            }
            if (layer.trace_cell) std::copy(row.cell, row.cell + size, layer.trace_cell + at);
        } else if (g.to == TO_RH) {
            layer.operand_clipped += ::operand(run, y.data(), codes.data(), size);
            pass_on(layer.delta_rh, first + s, step, run.steps, codes.data(), size);
            rh.load(s, 0, codes.data(), size, 0);
        } else if (g.to == TO_H || g.to == NOWHERE) {
            if (g.to == TO_H || !layer.recurrent) std::copy(y.begin(), y.end(), &values[s * size]);
        }
    }

    void step(const Run& run, std::vector<Work>& works, const std::vector<i32>& input, i64 first, i64 count, i64 step) {
        const i64 size = layer.size;
        for (i64 s = 0; s < count; s++) {
            i64 at = 0;
            for (i64 k = 0; k < layer.source_count; k++) {
                const Source& source = layer.sources[k];
                const i64 width = source.vector ? works[source.vector - 1].layer.size : run.inputs;
                const i32* from = source.vector ? works[source.vector - 1].operand.data() : input.data();
                codes.assign(from + s * width, from + (s + 1) * width);
                pass_on(source.delta, first + s, step, run.steps, codes.data(), width);
                x.load(s, at, codes.data(), width, source.shift);
                at += width;
            }
            codes.resize(std::max<i64>(size, codes.size()));
            if (layer.recurrent) {
                layer.operand_clipped += ::operand(run, layer.state + (first + s) * size, codes.data(), size);
                pass_on(layer.delta_h, first + s, step, run.steps, codes.data(), size);
                h.load(s, 0, codes.data(), size, 0);
            }
        }
        x.run(count);
        h.run(count);
        for (i64 walk = 0; walk < layer.walks; walk++) {
            if (walk) rh.run(count);
            for (i64 s = 0; s < count; s++)
                for (i64 g = 0; g < layer.gate_count; g++)
                    if (layer.gates[g].walk == walk) gate(run, g, first, s, step);
        }
        for (i64 s = 0; s < count; s++) {
            const i64* value = &values[s * size];
            if (layer.recurrent) std::copy(value, value + size, layer.state + (first + s) * size);
            if (layer.trace) std::copy(value, value + size, layer.trace + ((first + s) * run.steps + step) * size);
            if (layer.read) layer.operand_clipped += ::operand(run, value, &operand[s * size], size);
        }
    }
};

}  // namespace

extern "C" void gatewright_run(Run* given) {
    const Run& run = *given;
    std::vector<Work> works;
    works.reserve(run.layer_count);
    for (i64 k = 0; k < run.layer_count; k++) works.emplace_back(run.layers[k]);
    std::vector<i32> input(BLOCK * run.inputs);
    const i64 emitted = run.argmax ? 1 : run.outputs;
    for (i64 first = 0; first < run.n; first += BLOCK) {
        const i64 count = std::min<i64>(BLOCK, run.n - first);
        for (i64 step = 0; step < run.steps; step++) {
            for (i64 s = 0; s < count; s++) {
                const i64* x = run.x + ((first + s) * run.steps + step) * run.inputs;
                std::copy(x, x + run.inputs, &input[s * run.inputs]);
            }
            for (Work& work : works) work.step(run, works, input, first, count, step);
            for (i64 s = 0; s < count; s++) {
                i64* out = run.out + ((first + s) * run.steps + step) * emitted;
                for (i64 k = 0; k < run.output_count; k++) {
                    const Work& work = works[run.output_layers[k]];
                    const i64* value = &work.values[s * work.layer.size];
                    if (run.argmax)  // of one vector
                        *out = std::max_element(value, value + work.layer.size) - value;
                    else
                        out = std::copy(value, value + work.layer.size, out);
                }
            }
        }
    }
}
