/* Registers of gatewright_wishbone for C, and a step through the core; see docs/integration.md. */
#ifndef GATEWRIGHT_REGISTERS_H
#define GATEWRIGHT_REGISTERS_H

#include <stdint.h>

enum { /* index of a 32-bit word */
    GATEWRIGHT_IDENTITY,  /* 0x47575231 */
    GATEWRIGHT_PROGRAM,   /* first 32 bits of the program's digest */
    GATEWRIGHT_HARDWARE,  /* first 32 bits of the hardware digest */
    GATEWRIGHT_SHAPE,     /* inputs; outputs from bit 16 */
    GATEWRIGHT_WIDTHS,    /* bits of an input, an output, a state word, a command, 8 bits each */
    GATEWRIGHT_CONTROL,
    GATEWRIGHT_LEVELS,    /* free places for inputs; waiting outputs from bit 16 */
    GATEWRIGHT_INPUT,
    GATEWRIGHT_OUTPUT,
    GATEWRIGHT_COMMAND,   /* 0 read state, 1 load state */
    GATEWRIGHT_STATE_IN,
    GATEWRIGHT_STATE_OUT
};

/* Bits of CONTROL. RESET and CLEAR are written, the others read; IRQ is both. */
#define GATEWRIGHT_RESET (1u << 0)
#define GATEWRIGHT_CLEAR (1u << 3)
#define GATEWRIGHT_ROOM (1u << 0)
#define GATEWRIGHT_THERE (1u << 1)
#define GATEWRIGHT_IRQ (1u << 2)
#define GATEWRIGHT_OVERRUN (1u << 3)
#define GATEWRIGHT_UNDERRUN (1u << 4)
#define GATEWRIGHT_COMMAND_BUSY (1u << 5)
#define GATEWRIGHT_STATE_BUSY (1u << 6)
#define GATEWRIGHT_STATE_THERE (1u << 7)

/* Send one step and wait for its outputs. `fresh` starts it from the reset state. */
static inline void gatewright_step(volatile uint32_t *core, const int16_t *in, int16_t *out, int fresh)
{
    uint32_t shape = core[GATEWRIGHT_SHAPE], inputs = shape & 0xFFFF, outputs = shape >> 16;
    for (uint32_t k = 0; k < inputs; k++) {
        while (!(core[GATEWRIGHT_CONTROL] & GATEWRIGHT_ROOM))
            ;
        core[GATEWRIGHT_INPUT] = (uint16_t)in[k] | (fresh && k == 0 ? 1u << 16 : 0);
    }
    for (uint32_t k = 0; k < outputs; k++) {
        uint32_t word;
        do
            word = core[GATEWRIGHT_OUTPUT];
        while (!(word >> 31));
        out[k] = (int16_t)(word & 0xFFFF);
    }
}

#endif
