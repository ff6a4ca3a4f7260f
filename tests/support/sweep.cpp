// Activation units side by side, each given every code of its input with every activation.
//
// sweep.h says which units there are: UNITS(X) is one X(port, bits) a unit. Arguments: the latency, then
// the numbers of the activations. In turn each of them is given code j * 0x9E3779B1, j = 0, 1, ..., so
// that neighbours in the pipeline have nothing in common; a unit takes the lowest bits of it. Results on
// standard output, as int32: for each unit 2^bits rows of one result an activation.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vtop.h"
#include "sweep.h"
#include "verilated.h"

int main(int count, char** arguments) {
    const uint64_t latency = atoi(arguments[1]), acts = count - 2;
    VerilatedContext context;
    Vtop top(&context);
    std::vector<int32_t> results[] = {
#define NONE(port, bits) {},
        UNITS(NONE)
    };
    const int bits[] = {
#define BITS(port, bits) bits,
        UNITS(BITS)
    };
    int most = 0;
    for (int b : bits) most = b > most ? b : most;
    const uint64_t total = acts << most;
    for (uint64_t i = 0; i < total + latency; ++i) {
        top.act = atoi(arguments[2 + i % acts]);
        top.pre = static_cast<uint32_t>(i / acts) * 0x9E3779B1u & ((1u << most) - 1);
        top.eval();
        if (i >= latency) {
            const uint64_t done = i - latency;
            int k = 0;
#define TAKE(port, bits)                                                    \
    if (done < acts << bits) results[k].push_back(static_cast<int32_t>(top.port)); \
    ++k;
            UNITS(TAKE)
        }
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    }
    for (const auto& each : results) fwrite(each.data(), 4, each.size(), stdout);
    return 0;
}
