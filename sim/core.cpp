// A core, or many in one design, with a valid/ready driver on each stream; no Python in between.
//
// cores.h says which cores there are: CORES(X) is one X(k, prefix) a core. Job k is what compiled.py
// writes to standard input, all numbers int64 in the machine's order:
//   stall in 2^-32, seed, budget, data bits, outputs, output bits, state words, state bits, streams,
//   command bits, steps, inputs, states to load, codes (steps x inputs), first (steps), states
// Result k on standard output: 0, outputs (steps x outputs), ends (steps), states (streams x words);
// or -1, and the reason is on standard error.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vtop.h"
#include "cores.h"
#include "verilated.h"

using Numbers = std::vector<int64_t>;

static int64_t number() {
    int64_t value;
    if (fread(&value, sizeof value, 1, stdin) != 1) exit(3);
    return value;
}

static Numbers numbers(int64_t count) {
    Numbers all(count);
    for (auto& value : all) value = number();
    return all;
}

static int64_t sign_extended(uint32_t code, int bits) {
    const int64_t sign = int64_t{1} << (bits - 1);
    return ((code & (2 * sign - 1)) ^ sign) - sign;
}

// A port of 1 to 32 bits, of the type that Verilator gave it.
struct Port {
    void* at;
    size_t bytes;
    template <class T>
    Port(T& port) : at(&port), bytes(sizeof port) {
        static_assert(sizeof port <= 4, "ports are at most 32 bits wide");
    }
    uint32_t get() const {
        if (bytes == 1) return *static_cast<uint8_t*>(at);
        return bytes == 2 ? *static_cast<uint16_t*>(at) : *static_cast<uint32_t*>(at);
    }
    void set(uint32_t value) const {
        if (bytes == 1) *static_cast<uint8_t*>(at) = value;
        else if (bytes == 2) *static_cast<uint16_t*>(at) = value;
        else *static_cast<uint32_t*>(at) = value;
    }
};

struct Stream {
    Port payload, valid, ready;
};

struct Pauses {
    std::mt19937 generator;
    uint64_t chance;
    bool operator()() { return chance && generator() < chance; }
};

struct Item {
    const Stream* stream;
    uint32_t payload;
};

// Transfers items one after the other; each offer stays until it is taken.
struct Sender {
    std::vector<Item> items;
    size_t next = 0;
    bool offered = false;
    void drive(Pauses& pauses) {
        if (offered || next == items.size()) return;
        const Item& item = items[next];
        offered = !pauses();
        item.stream->valid.set(offered);
        if (offered) item.stream->payload.set(item.payload);
    }
    // Whether the offer is taken in this cycle; the caller lets the clock rise afterwards.
    bool sample() const { return offered && items[next].stream->ready.get(); }
    void step() {
        items[next++].stream->valid.set(0);
        offered = false;
    }
};

// Takes payloads; one that was offered must stay as it is until then.
struct Receiver {
    const Stream& stream;
    const char* name;
    bool waits = false;
    uint32_t offered = 0;
    std::string fault;
    void drive(Pauses& pauses) { stream.ready.set(!pauses()); }
    bool sample() {
        const bool valid = stream.valid.get();
        const uint32_t payload = stream.payload.get();
        if (waits && !valid)
            fault = std::string("valid of ") + name + " was withdrawn before the transfer";
        else if (waits && payload != offered)
            fault = std::string("payload of ") + name + " changed while it waited";
        offered = payload;
        const bool taken = valid && stream.ready.get();
        waits = valid && !taken;
        return taken;
    }
};

struct Player {
    Stream i, o, c, s_i, s_o;
    Pauses source_pauses, sink_pauses;
    int64_t budget = 0, size = 0, words = 0, streams = 1, start = -1;
    int out_bits = 0, state_bits = 0;
    Numbers outputs, ends, state;
    Sender sender, reader;
    Receiver sink{o, "o"}, state_sink{s_o, "s_o"};
    size_t received = 0, received_state = 0, count = 0;
    bool sends = false, asks = false, asked = false;  // in this cycle; before this cycle
    std::string fault;

    void load() {
        const uint64_t stall = number(), seed = number();
        source_pauses = {std::mt19937(seed), stall};
        sink_pauses = {std::mt19937(seed + 1), stall};
        budget = number();
        const int data_bits = number();
        size = number();
        out_bits = number();
        words = number();
        state_bits = number();
        streams = number();
        const int command_bits = number();
        const int64_t steps = number(), inputs = number(), loads = number();
        const Numbers codes = numbers(steps * inputs), first = numbers(steps);
        for (int64_t k = 0; k < loads; ++k) {
            sender.items.push_back({&c, 1 | uint32_t(k) << command_bits});
            for (int64_t word : numbers(words))
                sender.items.push_back({&s_i, uint32_t(word & ((int64_t{1} << state_bits) - 1))});
        }
        const uint32_t bit = uint32_t{1} << data_bits;
        for (int64_t k = 0; k < steps * inputs; ++k) {
            const bool fresh = k % inputs == 0 && first[k / inputs];
            sender.items.push_back({&i, (uint32_t(codes[k]) & (bit - 1)) | (fresh ? bit : 0)});
        }
        for (int64_t k = 0; words && k < streams; ++k)
            reader.items.push_back({&c, uint32_t(k) << command_bits});
        count = steps * size;
        outputs.resize(count);
        ends.resize(steps);
        state.resize(streams * words);
    }
    bool done() const { return received == count && received_state == state.size(); }
    void drive() {
        if (!fault.empty()) return;
        sender.drive(source_pauses);
        if (received < count) sink.drive(sink_pauses);
        else {
            o.ready.set(0);
            reader.drive(source_pauses);
            if (asked && !done()) state_sink.drive(source_pauses);
            else s_o.ready.set(0);
        }
    }
    void sample(int64_t now) {
        sends = sender.sample();
        if (sends && start < 0 && sender.items[sender.next].stream == &i) start = now;
        if (received < count && sink.sample()) {
            const uint32_t code = o.payload.get();
            const int64_t step = received / size, k = received % size;
            outputs[received++] = sign_extended(code, out_bits);
            ends[step] = now;
            const uint32_t place = uint32_t(k == 0) + 2 * uint32_t(k == size - 1);
            if (code >> out_bits != place + 4 * uint32_t(step % streams))
                fault = "step " + std::to_string(step) + " element " + std::to_string(k) +
                        ": first/last are " + std::to_string(code >> out_bits);
        } else if (received == count && reader.sample()) {
            asks = true;
        } else if (asked && !done() && state_sink.sample()) {
            state[received_state++] = sign_extended(s_o.payload.get(), state_bits);
        }
        if (fault.empty()) fault = sink.fault + state_sink.fault;
        if (fault.empty() && now > budget && !done())
            fault = "the core hangs: " + std::to_string(received) + " of " + std::to_string(count) +
                    " outputs in " + std::to_string(now) + " cycles";
    }
    // After the clock's edge: withdraw what was taken.
    void step() {
        if (sends) sender.step();
        if (asks) reader.step();
        asked |= asks;
        sends = asks = false;
    }
    void idle() {
        for (const Stream* in : {&i, &c, &s_i}) in->valid.set(0), in->payload.set(0);
        for (const Stream* out : {&o, &s_o}) out->ready.set(0);
    }
};

static void give(const Numbers& all) { fwrite(all.data(), sizeof(int64_t), all.size(), stdout); }

int main() {
    auto top = std::make_unique<Vtop>();
    std::vector<std::unique_ptr<Player>> players;
// Verilator writes the second underscore of a port as ___05F.
#define STREAM(p, n) \
    {top->p##n##___05Fpayload, top->p##n##___05Fvalid, top->p##n##___05Fready}
#define PLAYER(p) \
    players.emplace_back(new Player{ \
        STREAM(p, i), STREAM(p, o), STREAM(p, c), STREAM(p, s_i), STREAM(p, s_o)});
    CORES(PLAYER)
    for (auto& player : players) player->load(), player->idle();
    top->rst = 1;
    int64_t now = 0;
    auto edge = [&] {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        ++now;
    };
    for (int k = 0; k < 2; ++k) top->eval(), edge();
    top->rst = 0;
    for (bool busy = true; busy;) {
        for (auto& player : players) player->drive();
        top->eval();
        busy = false;
        for (auto& player : players) {
            if (!player->fault.empty() || player->done()) continue;
            player->sample(now);
            busy = true;
        }
        edge();
        for (auto& player : players) player->step();
    }
    top->final();
    for (size_t k = 0; k < players.size(); ++k) {
        Player& player = *players[k];
        if (!player.fault.empty()) {
            fprintf(stderr, "core %zu: %s\n", k, player.fault.c_str());
            give({-1});
            continue;
        }
        for (auto& end : player.ends) end -= player.start;
        give({0});
        give(player.outputs);
        give(player.ends);
        give(player.state);
    }
}
