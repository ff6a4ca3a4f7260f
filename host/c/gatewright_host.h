/* Talk to a board of gatewright from C99. This file is all of it: no memory is allocated, no library is
   needed. Your program gives two functions that write and read bytes of the line; the header that
   `gatewright verilog` and `gatewright build` write says what the board must hold. See docs/host.md for
   an example and docs/link.md for the protocol.

   Functions return GW_OK, or a negative gw_error. After an error of the line begin again with gw_open. */
#ifndef GATEWRIGHT_HOST_H
#define GATEWRIGHT_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A line to a board.
   write: send all bytes; 0, or negative if the line is lost.
   read: return the number of bytes that have come, one at least; 0 if none came within timeout_ms;
         negative if the line is lost.
   silence_ms: time without a byte after which something must have been lost: 1500 bits, and the
         latency of the port. */
typedef struct {
    void *context;
    int (*write)(void *context, const uint8_t *data, size_t size);
    int (*read)(void *context, uint8_t *data, size_t size, unsigned timeout_ms);
    unsigned silence_ms;
} gw_line;

/* What a board must hold; NAME_PROGRAM in the header of a program is one. */
typedef struct {
    uint16_t inputs, outputs, state_words;
    uint8_t input_bytes, output_bytes, state_bytes;
    uint8_t hardware[8], program[8];
    uint32_t beat_chunks, weight_chunks, contents_crc;
    const uint16_t *output_order;
} gw_program;

/* What a board says of itself; digests are the first 8 bytes of those that `gatewright inspect` shows. */
typedef struct {
    uint8_t protocol, window, loadable, verifiable;
    uint16_t lanes, inputs, outputs;
    uint8_t split, beat;
    uint32_t state_words, clock_hz;
    uint8_t hardware[8], program[8];
} gw_identity;

/* Since the session was opened. stalls: cycles in which the core waited for the link. */
typedef struct {
    uint64_t cycles, stalls;
    uint32_t steps;
} gw_counters;

/* Events on the line, as in gatewright.host.session.LinkCounts. */
typedef struct {
    uint32_t frames_sent, frames_received, bad_frames, resent, repeats, silences;
} gw_counts;

typedef enum {
    GW_OK = 0,
    GW_NO_ANSWER = -1,    /* is the board powered, its bitstream written, the rate right? */
    GW_LINE = -2,         /* your read or write failed */
    GW_LOST = -3,         /* asked 20 times in a row, the board gave no answer that could be read */
    GW_STUCK = -4,        /* it answers, and has not got on for 10 s */
    GW_RESTARTED = -5,    /* it was restarted, or another host uses it */
    GW_REFUSED = -6,      /* it refused a command */
    GW_BROKEN = -7,       /* it says what cannot be: host and bitstream do not fit */
    GW_OTHER_BOARD = -8,  /* it holds another program, or speaks another version */
    GW_NOT_LOADED = -9,   /* its weights are not those of the program: gw_load */
    GW_FIXED = -10,       /* its weights cannot be exchanged, or not be verified */
    GW_BAD_IMAGE = -11,   /* the image is damaged, or of another program */
    GW_UPSET = -12        /* its memories do not hold what they should: gw_load */
} gw_error;

enum {
    GW_PROTOCOL = 1, GW_MAX_PAYLOAD = 224, GW_LEAST_PAYLOAD = 16, GW_MARGIN = 8, GW_LEAST_WINDOW = 9,
    GW_TRIES = 20, GW_BABBLE = 1024, GW_PATIENCE_MS = 10000, GW_TAGS = 64, GW_IMAGE_HEAD = 20
};

/* A board. Its fields are of no concern but identity, status and counts, which may be read. */
typedef struct {
    gw_line line;
    const gw_program *program;
    gw_identity identity;
    gw_counts counts;
    uint8_t status;                              /* 1 loaded, 2 refused, 4 booting, 8 flash bad */
    uint8_t session, tag, asked, asking;
    unsigned window, most;
    uint32_t received, consumed, sent, got, acked; /* places in the two streams */
    uint32_t mark[GW_TAGS], marks;               /* places after the newest frames, by tag */
    uint8_t raw[64], frame[256];                 /* bytes that came; the frame that is coming */
    unsigned raw_at, raw_end, filled;
} gw_device;

/* What is exchanged: bytes of the down stream by their place, and where those of the up stream go. */
typedef struct gw_job {
    uint32_t size, replies;
    uint8_t (*get)(const struct gw_job *job, uint32_t place);
    void (*put)(struct gw_job *job, uint32_t place, uint8_t byte);
    const gw_program *program;
    const uint8_t *bytes;
    uint8_t *into;
    const int16_t *codes;
    int16_t *outputs;
    const int32_t *words;
    int32_t *state;
    unsigned word_bytes;
    uint8_t op;
} gw_job;

static inline const char *gw_text(int error)
{
    static const char *const texts[] = {
        "done", "no answer: is the board powered, its bitstream written, the rate that of the build?",
        "the line cannot be read or written", "the board was lost: it gave no answer that could be read",
        "the board answers but does not get on", "the board was restarted, or another host uses it",
        "the board refused a command", "the board says what cannot be; build and flash with this version",
        "the board holds another program", "the board has no weights of this program; load them",
        "the board's weights cannot be exchanged or verified", "the image of weights is damaged or another's",
        "the board's memories do not hold the program; load it again"
    };
    return error <= 0 && error >= GW_UPSET ? texts[-error] : "no error of gatewright";
}

/* -- frames ---------------------------------------------------------------------------------------- */

static inline uint32_t gw_crc(uint32_t crc, const uint8_t *data, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu
    };
    size_t k;
    crc = ~crc;
    for (k = 0; k < size; k++) {
        crc ^= data[k];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

static inline uint32_t gw_number(const uint8_t *data, unsigned bytes)
{
    uint32_t value = 0;
    while (bytes--) value = value << 8 | data[bytes];
    return value;
}

/* Write a frame of a header and payload: COBS, a zero before it if it is empty, a zero after it. */
static inline int gw_send(gw_device *d, uint8_t flags, const gw_job *job, uint32_t from, unsigned count)
{
    uint8_t body[7 + GW_MAX_PAYLOAD + 4], line[7 + GW_MAX_PAYLOAD + 4 + 3];
    const uint32_t modulus = (uint32_t)2 << d->window;
    const uint32_t sent = d->sent % modulus, got = d->got % modulus;
    unsigned k, size = 7, at, code;
    uint32_t crc;
    d->tag++;
    body[0] = flags;
    body[1] = d->session;
    body[2] = d->tag;
    body[3] = (uint8_t)sent;
    body[4] = (uint8_t)(sent >> 8);
    body[5] = (uint8_t)got;
    body[6] = (uint8_t)(got >> 8);
    for (k = 0; k < count; k++) body[size++] = job->get(job, from + k);
    crc = gw_crc(0, body, size);
    for (k = 0; k < 4; k++) body[size++] = (uint8_t)(crc >> 8 * k);
    line[0] = 0;
    code = 1;
    at = 2;
    for (k = 0; k < size; k++) {
        if (body[k]) {
            line[at++] = body[k];
        } else {
            line[code] = (uint8_t)(at - code);
            code = at++;
        }
    }
    line[code] = (uint8_t)(at - code);
    line[at++] = 0;
    d->sent += count;
    d->mark[d->tag % GW_TAGS] = d->sent;
    if (d->marks < GW_TAGS) d->marks++;
    d->acked = d->got;
    d->counts.frames_sent++;
    return d->line.write(d->line.context, line + (count != 0), at - (count != 0)) < 0 ? GW_LINE : GW_OK;
}

/* Take what comes: the number of bytes, 0 after a silence, which ends what came before it. */
static inline int gw_listen(gw_device *d)
{
    const int count = d->line.read(d->line.context, d->raw, sizeof d->raw, d->line.silence_ms);
    d->raw_at = 0;
    d->raw_end = count > 0 ? (unsigned)count : 0;
    if (count == 0) d->filled = 0;
    return count < 0 ? GW_LINE : count;
}

/* Return the bytes of header and payload of the next good frame in d->frame; 0 if there is none yet. */
static inline unsigned gw_next(gw_device *d)
{
    while (d->raw_at < d->raw_end) {
        const uint8_t byte = d->raw[d->raw_at++];
        unsigned at = 0, to = 0, code, k, good = 1;
        if (byte) {
            if (d->filled < sizeof d->frame) d->frame[d->filled] = byte;
            if (d->filled < sizeof d->frame + 1) d->filled++;
            continue;
        }
        if (!d->filled) continue;
        if (d->filled > sizeof d->frame) good = 0;
        while (good && at < d->filled) {
            code = d->frame[at++];
            if (code - 1 > d->filled - at) good = 0;
            for (k = 1; good && k < code; k++) d->frame[to++] = d->frame[at++];
            if (good && code < 255 && at < d->filled) d->frame[to++] = 0;
        }
        d->filled = 0;
        if (good && to >= 10 + 4 && gw_crc(0, d->frame, to - 4) == gw_number(d->frame + to - 4, 4)) {
            d->counts.frames_received++;
            return to - 4;
        }
        d->counts.bad_frames++;
    }
    return 0;
}

/* -- the session ----------------------------------------------------------------------------------- */

/* Send what the board has room for. `base` is the place of the job's first byte. */
static inline int gw_fill(gw_device *d, const gw_job *job, uint32_t base)
{
    const uint32_t size = (uint32_t)1 << d->window, end = base + job->size;
    for (;;) {
        const int32_t room = (int32_t)(d->consumed + size - GW_MARGIN - d->sent);
        const uint32_t left = end - d->sent;
        uint32_t count = left < d->most ? left : d->most, least;
        int result;
        if (room <= 0 || left == 0 || d->marks >= GW_TAGS) break;
        if ((uint32_t)room < count) count = (uint32_t)room;
        /* A small piece is worth a frame only if it is the last, or nothing is under way. */
        least = left < d->most ? left : d->most;
        if (least > 64) least = 64;
        if (count < least && d->sent != d->received) break;
        result = gw_send(d, 0, job, d->sent - base, count);
        if (result) return result;
    }
    return d->got - d->acked >= size / 4 ? gw_send(d, 0, job, 0, 0) : GW_OK;
}

/* Act on a frame of the board. */
static inline int gw_take(gw_device *d, gw_job *job, uint32_t base, uint32_t up, unsigned bytes)
{
    const uint32_t size = (uint32_t)1 << d->window, mask = 2 * size - 1;
    const uint8_t *f = d->frame;
    const uint32_t received = d->received + ((gw_number(f + 4, 2) - d->received) & mask);
    const unsigned age = (uint8_t)(d->tag - f[0]);
    uint32_t now = received;
    int32_t ahead;
    unsigned k;
    if (f[1] != d->session) return GW_RESTARTED;
    d->status = f[2];
    if (f[2] & 2) return GW_REFUSED;
    d->consumed += (gw_number(f + 6, 2) - d->consumed) & mask;
    if ((int32_t)(d->consumed - now) > 0) now = d->consumed;
    if ((int32_t)(now - (base + job->size)) > 0) return GW_BROKEN;
    d->received = now;
    if ((int32_t)(now - d->sent) > 0) d->sent = now;
    if (age < d->marks) {
        const uint32_t should = d->mark[f[0] % GW_TAGS];
        d->marks = age;
        if ((int32_t)(should - now) > 0) {
            /* That frame, or one before it, did not arrive; those after it are in vain. */
            d->counts.resent++;
            d->most /= 2;
            if (d->most < GW_LEAST_PAYLOAD) d->most = GW_LEAST_PAYLOAD;
            d->sent = now;
            d->marks = 0;
        } else if (d->most + GW_LEAST_PAYLOAD < GW_MAX_PAYLOAD) {
            d->most += GW_LEAST_PAYLOAD;
        } else {
            d->most = GW_MAX_PAYLOAD;
        }
    }
    ahead = (int32_t)((gw_number(f + 8, 2) - d->got) & mask);
    if (ahead > (int32_t)size) ahead -= (int32_t)(2 * size);
    if (d->asking && (uint8_t)(f[0] - d->asked) < 128) d->asking = 0; /* this frame begins with it */
    if (ahead > 0) {
        if (!d->asking) {
            const int result = (d->counts.repeats++, gw_send(d, 2, job, 0, 0));
            d->asked = d->tag;
            d->asking = 1;
            return result;
        }
        return GW_OK;
    }
    /* What nobody has asked for yet stays with the board. */
    for (k = 10 + (unsigned)-ahead; k < bytes && d->got - up < job->replies; k++, d->got++)
        job->put(job, d->got - up, f[k]);
    return GW_OK;
}

/* Send the job's bytes while taking its replies; each arrives once and in order, or there is an error. */
static inline int gw_exchange(gw_device *d, gw_job *job)
{
    const uint32_t base = d->received, up = d->got;
    unsigned silent = 0, stuck = 0, noise = 0;
    while (d->got - up < job->replies || d->received - base < job->size) {
        const uint32_t before[3] = {d->received, d->consumed, d->got};
        unsigned bytes;
        int result = gw_fill(d, job, base), heard, quiet;
        if (result) return result;
        heard = gw_listen(d);
        if (heard < 0) return heard;
        noise += (unsigned)heard;
        while ((bytes = gw_next(d)) != 0) {
            silent = noise = 0;
            result = gw_take(d, job, base, up, bytes);
            if (result) return result;
        }
        quiet = heard == 0 || noise > GW_BABBLE;
        if (quiet) {
            noise = 0;
            d->counts.silences++;
            if (++silent > GW_TRIES) return GW_LOST;
            /* A short frame gets through where a long answer was lost again. */
            result = gw_send(d, silent > 1 ? 2 : 0, job, 0, 0);
            if (result) return result;
        }
        if (before[0] != d->received || before[1] != d->consumed || before[2] != d->got) {
            stuck = 0;
        } else if (quiet) {
            stuck += d->line.silence_ms;
            if (stuck > GW_PATIENCE_MS) return GW_STUCK;
        }
    }
    return GW_OK;
}

static inline uint8_t gw_get_bytes(const gw_job *job, uint32_t place)
{
    return place ? job->bytes[place - 1] : job->op;
}

static inline void gw_put_bytes(gw_job *job, uint32_t place, uint8_t byte)
{
    job->into[place] = byte;
}

/* Send a command with bytes behind it, and take bytes. */
static inline int gw_command(
    gw_device *d, uint8_t op, const uint8_t *bytes, uint32_t size, uint8_t *into, uint32_t replies)
{
    gw_job job;
    memset(&job, 0, sizeof job);
    job.op = op;
    job.bytes = bytes;
    job.size = size + 1;
    job.into = into;
    job.replies = replies;
    job.get = gw_get_bytes;
    job.put = gw_put_bytes;
    return gw_exchange(d, &job);
}

/* -- commands -------------------------------------------------------------------------------------- */

/* Ask the board what it is; the answer is in d->identity. */
static inline int gw_identify(gw_device *d)
{
    uint8_t b[35];
    const int result = gw_command(d, 0x40, NULL, 0, b, sizeof b);
    gw_identity *i = &d->identity;
    if (result) return result;
    i->protocol = b[0];
    i->window = b[1];
    i->loadable = b[2] & 1;
    i->verifiable = b[2] >> 1 & 1;
    i->lanes = (uint16_t)gw_number(b + 3, 2);
    i->split = b[5];
    i->beat = b[6];
    i->inputs = (uint16_t)gw_number(b + 7, 2);
    i->outputs = (uint16_t)gw_number(b + 9, 2);
    i->state_words = gw_number(b + 11, 4);
    i->clock_hz = gw_number(b + 15, 4);
    memcpy(i->hardware, b + 19, 8);
    memcpy(i->program, b + 27, 8);
    return GW_OK;
}

/* Begin a session and ask for nothing; gw_open is what you want. */
static inline int gw_begin(gw_device *d, gw_line line, const gw_program *program, uint32_t seed)
{
    gw_job none;
    unsigned k;
    int result;
    memset(d, 0, sizeof *d);
    memset(&none, 0, sizeof none);
    d->line = line;
    d->program = program;
    d->window = GW_LEAST_WINDOW;
    d->most = GW_MAX_PAYLOAD;
    d->session = (uint8_t)(1 + seed % 255);
    d->tag = (uint8_t)(seed / 255);
    for (k = 0; k < GW_BABBLE; k++) { /* what another session left */
        result = line.read(line.context, d->raw, sizeof d->raw, 0);
        if (result < 0) return GW_LINE;
        if (result == 0) break;
    }
    for (k = 0; k < GW_TRIES; k++) {
        unsigned heard = 0;
        result = gw_send(d, 1, &none, 0, 0);
        if (result) return result;
        while (heard < GW_BABBLE && (result = gw_listen(d)) > 0) {
            heard += (unsigned)result;
            while (gw_next(d)) {
                /* Tags tell a session of another host with the same number apart. */
                if (d->frame[1] != d->session || (uint8_t)(d->tag - d->frame[0]) >= d->marks) continue;
                d->status = d->frame[2];
                return GW_OK;
            }
        }
        if (result < 0) return result;
        d->counts.silences++;
    }
    return GW_NO_ANSWER;
}

/* Begin a session with a board that holds a program; the board forgets the session before, and its
   state. Weights stay.
   seed: another number each time, as far as that is possible (a clock, noise): it tells the answers of
   this session from those that another one left on the line. */
static inline int gw_open(gw_device *d, gw_line line, const gw_program *program, uint32_t seed)
{
    int result = gw_begin(d, line, program, seed);
    if (result == GW_OK) result = gw_identify(d);
    if (result) return result;
    if (d->identity.protocol != GW_PROTOCOL || d->identity.window > 14) return GW_OTHER_BOARD;
    d->window = d->identity.window;
    if (memcmp(d->identity.hardware, program->hardware, 8)) return GW_OTHER_BOARD;
    if (!d->identity.loadable && memcmp(d->identity.program, program->program, 8)) return GW_OTHER_BOARD;
    return GW_OK;
}

/* Return whether the board holds the program, weights included. */
static inline int gw_loaded(const gw_device *d)
{
    return (d->status & 1) && !memcmp(d->identity.program, d->program->program, 8);
}

static inline uint8_t gw_get_step(const gw_job *job, uint32_t place)
{
    const gw_program *p = job->program;
    const uint32_t bytes = 1 + (uint32_t)p->inputs * p->input_bytes, step = place / bytes, at = place % bytes;
    if (at == 0) return step == 0 ? job->op : 0x10;
    return (uint8_t)((uint16_t)job->codes[step * p->inputs + (at - 1) / p->input_bytes] >> 8 * ((at - 1) % p->input_bytes));
}

static inline void gw_put_step(gw_job *job, uint32_t place, uint8_t byte)
{
    const gw_program *p = job->program;
    const uint32_t bytes = (uint32_t)p->outputs * p->output_bytes, at = place % bytes;
    int16_t *out = job->outputs + place / bytes * p->outputs + p->output_order[at / p->output_bytes];
    if (at % p->output_bytes == 0) *out = (int16_t)(byte >= 128 ? byte - 256 : byte);
    else *out = (int16_t)((byte >= 128 ? byte - 256 : byte) * 256 + (*out & 255));
}

/* Run steps: codes are steps x inputs, outputs become steps x outputs in the model's order.
   fresh: the first step starts from the reset state, else all go on from the state that the board is in. */
static inline int gw_run(gw_device *d, const int16_t *codes, uint32_t steps, int fresh, int16_t *outputs)
{
    const gw_program *p = d->program;
    const uint32_t down = 1 + (uint32_t)p->inputs * p->input_bytes, up = (uint32_t)p->outputs * p->output_bytes;
    const uint32_t most = 0x40000000u / (down > up ? down : up);
    if (!gw_loaded(d)) return GW_NOT_LOADED;
    while (steps) {
        const uint32_t now = steps < most ? steps : most;
        gw_job job;
        int result;
        memset(&job, 0, sizeof job);
        job.program = p;
        job.codes = codes;
        job.outputs = outputs;
        job.size = now * down;
        job.replies = now * up;
        job.op = fresh ? 0x11 : 0x10;
        job.get = gw_get_step;
        job.put = gw_put_step;
        result = gw_exchange(d, &job);
        if (result) return result;
        codes += (size_t)now * p->inputs;
        outputs += (size_t)now * p->outputs;
        steps -= now;
        fresh = 0;
    }
    return GW_OK;
}

static inline unsigned gw_word_bytes(const gw_device *d)
{
    return d->identity.loadable && d->program->state_bytes < 2 ? 2 : d->program->state_bytes;
}

static inline uint8_t gw_get_word(const gw_job *job, uint32_t place)
{
    if (place == 0) return job->op;
    if (!job->words) return 0;
    return (uint8_t)((uint32_t)job->words[(place - 1) / job->word_bytes] >> 8 * ((place - 1) % job->word_bytes));
}

static inline void gw_put_word(gw_job *job, uint32_t place, uint8_t byte)
{
    int32_t *word = job->state + place / job->word_bytes;
    const unsigned at = place % job->word_bytes;
    const int32_t part = at == job->word_bytes - 1 && byte >= 128 ? byte - 256 : byte;
    *word = at ? *word + part * ((int32_t)1 << 8 * at) : part;
}

/* Read the state after all steps so far: state_words codes, of each layer h, then c if it has one. */
static inline int gw_read_state(gw_device *d, int32_t *words)
{
    gw_job job;
    memset(&job, 0, sizeof job);
    job.op = 0x20;
    job.size = 1;
    job.word_bytes = gw_word_bytes(d);
    job.replies = d->program->state_words * job.word_bytes;
    job.state = words;
    job.get = gw_get_word;
    job.put = gw_put_word;
    return gw_exchange(d, &job);
}

/* Load a state; NULL is the reset state. */
static inline int gw_load_state(gw_device *d, const int32_t *words)
{
    gw_job job;
    memset(&job, 0, sizeof job);
    job.op = 0x21;
    job.word_bytes = gw_word_bytes(d);
    job.size = 1 + d->program->state_words * job.word_bytes;
    job.words = words;
    job.get = gw_get_word;
    job.put = gw_put_word;
    return gw_exchange(d, &job);
}

/* Bring the board to the reset state: steps that go on start from there. */
static inline int gw_reset(gw_device *d)
{
    return gw_load_state(d, NULL);
}

/* Read the performance counters of the core. */
static inline int gw_read_counters(gw_device *d, gw_counters *counters)
{
    uint8_t b[16];
    const int result = gw_command(d, 0x41, NULL, 0, b, sizeof b);
    if (result) return result;
    counters->cycles = (uint64_t)gw_number(b + 4, 2) << 32 | gw_number(b, 4);
    counters->stalls = (uint64_t)gw_number(b + 10, 2) << 32 | gw_number(b + 6, 4);
    counters->steps = gw_number(b + 12, 4);
    return GW_OK;
}

/* -- weights --------------------------------------------------------------------------------------- */

static inline uint8_t gw_get_chunk(const gw_job *job, uint32_t place)
{
    const uint32_t at = place ? (place - 1) % job->word_bytes : 0;
    if (place == 0) return job->op;
    return at < 2 ? job->bytes[(place - 1) / job->word_bytes * 2 + at] : 0;
}

/* Let the board compare its memories with a CRC: GW_OK, or GW_UPSET, and then it takes no steps. */
static inline int gw_verify(gw_device *d)
{
    const uint32_t crc = d->program->contents_crc;
    const unsigned bytes = gw_word_bytes(d);
    uint8_t words[8] = {0}, verdict[4] = {0};
    unsigned k;
    int result;
    if (!d->identity.verifiable) return GW_FIXED;
    for (k = 0; k < 2; k++) {
        words[k * bytes] = (uint8_t)(crc >> 16 * k);
        words[k * bytes + 1] = (uint8_t)(crc >> (16 * k + 8));
    }
    result = gw_command(d, 0x26, words, 2 * bytes, verdict, bytes);
    if (result) return result;
    for (k = 0; k < bytes; k++) {
        if (!verdict[k]) continue;
        d->status &= 0xFE;
        return GW_UPSET;
    }
    return GW_OK;
}

/* Load the program's weights and beat table, and verify them where the board can.
   image: the file weights.bin of `gatewright build --loadable`. */
static inline int gw_load(gw_device *d, const uint8_t *image, size_t size)
{
    const gw_program *p = d->program;
    const uint32_t chunks[2] = {p->beat_chunks, p->weight_chunks};
    const size_t whole = GW_IMAGE_HEAD + 2 * ((size_t)chunks[0] + chunks[1]) + 4;
    unsigned k;
    int result;
    if (!d->identity.loadable) return GW_FIXED;
    if (size != whole || memcmp(image, "GWF1", 4) || memcmp(image + 4, p->hardware, 8) ||
        memcmp(image + 12, p->program, 8) || gw_crc(0, image, whole - 4) != gw_number(image + whole - 4, 4))
        return GW_BAD_IMAGE;
    image += GW_IMAGE_HEAD;
    for (k = 0; k < 2; k++) {
        gw_job job;
        memset(&job, 0, sizeof job);
        job.op = k ? 0x23 : 0x25;
        job.bytes = image;
        job.word_bytes = gw_word_bytes(d);
        job.size = 1 + chunks[k] * job.word_bytes;
        job.get = gw_get_chunk;
        job.put = gw_put_bytes;
        result = gw_exchange(d, &job);
        if (result) return result;
        image += 2 * (size_t)chunks[k];
    }
    if (d->identity.verifiable) {
        result = gw_verify(d);
        if (result) return result;
    }
    result = gw_command(d, 0x42, p->program, 8, NULL, 0);
    if (result) return result;
    result = gw_identify(d);
    if (result) return result;
    return gw_loaded(d) ? GW_OK : GW_UPSET;
}

#endif
