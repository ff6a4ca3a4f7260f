"""The C host as a library, on any transport of the Python host."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import gatewright.host as host
import numpy as np
from gatewright.compiler.arrays import IntArray
from gatewright.compiler.program.interface import interface
from gatewright.compiler.program.program import Program
from gatewright.hw.export.headers import c_header

HEADER = Path(host.__file__).parent / "c" / "gatewright_host.h"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
READ = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint
)

SHIM = """
#include "p.h"
#include "gatewright_host.h"
static const gw_program program = P_PROGRAM;
gw_device device;
static gw_line line_of(void *write, void *read, unsigned silence)
{
    gw_line line = {0, 0, 0, 0};
    *(void **)&line.write = write;
    *(void **)&line.read = read;
    line.silence_ms = silence;
    return line;
}
int c_begin(void *w, void *r, unsigned ms, uint32_t seed) { return gw_begin(&device, line_of(w, r, ms), &program, seed); }
int c_open(void *w, void *r, unsigned ms, uint32_t seed) { return gw_open(&device, line_of(w, r, ms), &program, seed); }
int c_exchange(const uint8_t *data, uint32_t size, uint8_t *into, uint32_t replies)
{
    return gw_command(&device, data[0], data + 1, size - 1, into, replies);
}
int c_run(const int16_t *x, uint32_t n, int fresh, int16_t *y) { return gw_run(&device, x, n, fresh, y); }
int c_read_state(int32_t *words) { return gw_read_state(&device, words); }
int c_load_state(const int32_t *words) { return gw_load_state(&device, words); }
int c_reset(void) { return gw_reset(&device); }
int c_counters(uint64_t *into)
{
    gw_counters c = {0, 0, 0};
    int result = gw_read_counters(&device, &c);
    into[0] = c.cycles, into[1] = c.stalls, into[2] = c.steps;
    return result;
}
int c_verify(void) { return gw_verify(&device); }
int c_load(const uint8_t *image, size_t size) { return gw_load(&device, image, size); }
int c_loaded(void) { return gw_loaded(&device); }
const char *c_text(int error) { return gw_text(error); }
"""


class CError(Exception):
    """An error that the C host returned; its number is the first argument."""


class CHost:
    """The C host of a program, compiled strictly."""

    def __init__(self, program: Program, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        (folder / "p.h").write_text(c_header(interface(program), "p"))
        (folder / "shim.c").write_text(SHIM)
        subprocess.run(
            ["gcc", *[w for w in STRICT if w != "-pedantic"], f"-I{HEADER.parent}", "-shared", "-fPIC", "-O1",
             "-fsanitize=undefined", "-fno-sanitize-recover", "-static-libubsan", "-o", "host.so", "shim.c"],
            cwd=folder, check=True,
        )  # fmt: skip
        self._library: Any = ctypes.CDLL(str(folder / "host.so"))
        self._library.c_text.restype = ctypes.c_char_p
        self._rest = b""
        self.log: list[bytes] = []

    def _lines(self, transport: Any) -> tuple[Any, Any, int]:
        def write(context: Any, data: int, size: int) -> int:
            self.log.append(ctypes.string_at(data, size))
            transport.write(self.log[-1])
            return 0

        def read(context: Any, data: int, size: int, timeout: int) -> int:
            made = self._rest or transport.read(timeout / 1000)
            made, self._rest = made[:size], made[size:]
            ctypes.memmove(data, made, len(made))
            return len(made)

        self._rest = b""
        self._callbacks = WRITE(write), READ(read)  # must outlive the session
        w, r = (ctypes.cast(f, ctypes.c_void_p) for f in self._callbacks)
        return w, r, max(1, round(transport.silence * 1000))

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function; raise what it returns as an error."""
        result = int(getattr(self._library, f"c_{name}")(*arguments))
        if result < 0:
            raise CError(result, self._library.c_text(result).decode())
        return result

    def begin(self, transport: Any, seed: int = 1) -> None:
        self.call("begin", *self._lines(transport), seed)

    def open(self, transport: Any, seed: int = 1) -> None:
        self.call("open", *self._lines(transport), seed)

    def exchange(self, data: bytes, replies: int) -> bytes:
        into = ctypes.create_string_buffer(replies)
        self.call("exchange", data, len(data), into, replies)
        return into.raw[:replies]

    def run(self, codes: IntArray, fresh: bool = True) -> IntArray:
        """Run steps (T, I); return outputs (T, outputs)."""
        given = np.ascontiguousarray(codes, np.int16)
        made = np.zeros((len(codes), self.program.output_size), np.int16)
        self.call("run", given.ctypes.data_as(ctypes.c_void_p), len(codes), int(fresh), made.ctypes.data_as(ctypes.c_void_p))  # fmt: skip
        return made.astype(np.int64)

    def read_state(self) -> IntArray:
        words = np.zeros(sum(size for _, _, _, size in self.program.schedule.states), np.int32)
        self.call("read_state", words.ctypes.data_as(ctypes.c_void_p))
        return words.astype(np.int64)

    def load_state(self, words: IntArray) -> None:
        self.call("load_state", np.ascontiguousarray(words, np.int32).ctypes.data_as(ctypes.c_void_p))  # fmt: skip

    def counters(self) -> tuple[int, int, int]:
        made = np.zeros(3, np.uint64)
        self.call("counters", made.ctypes.data_as(ctypes.c_void_p))
        return tuple(int(n) for n in made)  # type: ignore[return-value]
