// A verilated board with a serial line, worked through standard input and output.
//
//   arguments: cycles a bit, chance a cycle that the line turns over for a moment, seed
//   'W' n bytes   queue n bytes for the board
//   'F' n offset bytes   put bytes into the SPI flash, where the board has one; offset: 4 of the n bytes
//   'T' cycle     lose the clock in that cycle: reset is 1 for three cycles
//   'R' cycles    run until a byte has come from it, or for so many cycles
//                 -> cycle (8 bytes), n (4 bytes), bytes
//
// Numbers are little-endian, 4 bytes where nothing else is said.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string>

#include "Vtop.h"
#include "board.h"  // FLASH: whether the board has an SPI flash
#include "verilated.h"

static double bit_cycles, glitch_chance;
static std::mt19937 generator;

// Turns a line over for up to half a bit, now and then.
struct Glitches {
    int left = 0;
    bool operator()(bool line) {
        if (left > 0) {
            --left;
            return !line;
        }
        if (glitch_chance > 0 && std::uniform_real_distribution<>()(generator) < glitch_chance)
            left = 1 + generator() % static_cast<int>(bit_cycles);
        return line;
    }
};

struct Sender {
    std::deque<uint8_t> bytes;
    int bit = 10, word = 0;
    double left = 0;
    bool tick() {
        if (bit == 10) {
            if (bytes.empty()) return true;
            word = bytes.front() << 1 | 0x200;
            bytes.pop_front();
            bit = 0;
            left += bit_cycles;
        }
        bool line = word >> bit & 1;
        left -= 1;
        if (left <= 0 && ++bit < 10) left += bit_cycles;
        return line;
    }
};

struct Receiver {
    std::string bytes;
    int bit = -1, word = 0;
    double left = 0;
    void tick(bool line) {
        if (bit < 0) {
            if (line) return;
            bit = 0;
            word = 0;
            left = bit_cycles / 2;
        }
        left -= 1;
        if (left > 0) return;
        word |= line << bit;
        left += bit_cycles;
        if (++bit < 10) return;
        if ((word & 0x201) == 0x200) bytes.push_back(static_cast<char>(word >> 1));
        bit = -1;
    }
};

// An SPI flash as far as reading goes; it sleeps at first, as after a configuration.
struct Flash {
    std::string content;
    uint32_t offset = 0, command = 0, bits = 0;
    bool asleep = true, clock = false, out = true;
    bool tick(bool deselected, bool sck, bool in) {
        const bool rises = sck && !clock, falls = !sck && clock;
        clock = sck;
        if (deselected) {
            // A command counts when the chip is let go after its last bit.
            if (bits == 8 && command == 0xAB) asleep = false;
            bits = command = 0;
        } else if (rises) {
            if (bits < 32) command = command << 1 | in;
            ++bits;
        } else if (falls && bits >= 32 && command >> 24 == 0x03 && !asleep) {
            const uint32_t place = (command & 0xFFFFFF) + (bits - 32) / 8 - offset;
            const uint8_t byte = place < content.size() ? content[place] : 255;
            out = byte >> (7 - bits % 8) & 1;
        }
        return out;
    }
};

static uint32_t number() {
    uint8_t raw[4];
    if (fread(raw, 1, 4, stdin) != 4) exit(0);
    return raw[0] | raw[1] << 8 | raw[2] << 16 | static_cast<uint32_t>(raw[3]) << 24;
}

static void give(uint64_t value, int bytes) {
    for (int k = 0; k < bytes; ++k) putchar(static_cast<int>(value >> 8 * k & 255));
}

int main(int, char** arguments) {
    bit_cycles = atof(arguments[1]);
    glitch_chance = atof(arguments[2]);
    generator.seed(atoi(arguments[3]));
    Vtop top;
    Sender sender;
    Receiver receiver;
    Glitches down, up;
    Flash flash;
    uint64_t now = 0, trip = UINT64_MAX;
    auto cycle = [&] {
        top.rst = now < 2;
        top.reset = now >= trip && now - trip < 3;
        top.rx = down(sender.tick());
#if FLASH
        top.flash_miso = flash.tick(top.flash_cs_n, top.flash_sck, top.flash_mosi);
#endif
        top.clk = 0;
        top.eval();
        receiver.tick(up(top.tx));
        top.clk = 1;
        top.eval();
        ++now;
    };
    top.rx = 1;
    for (;;) {
        int command = getchar();
        if (command == EOF) return 0;
        uint32_t count = number();
        if (command == 'W') {
            for (uint32_t k = 0; k < count; ++k) sender.bytes.push_back(getchar());
            continue;
        }
        if (command == 'F') {
            flash.offset = number();
            flash.content.clear();
            for (uint32_t k = 4; k < count; ++k) flash.content.push_back(getchar());
            continue;
        }
        if (command == 'T') {
            trip = count;
            continue;
        }
        for (uint32_t k = 0; k < count && receiver.bytes.empty(); ++k) cycle();
        give(now, 8);
        give(receiver.bytes.size(), 4);
        fwrite(receiver.bytes.data(), 1, receiver.bytes.size(), stdout);
        fflush(stdout);
        receiver.bytes.clear();
    }
}
