"""Valid/ready streams in cocotb: the drivers of our own benches, for benches of users too.

A transfer takes place in a cycle in which ``valid`` and ``ready`` are both 1 at the rising edge of the
clock. A payload that is offered stays, with ``valid``, until it is taken. A bench of one's own::

    @cocotb.test()
    async def double(dut):
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        source, sink = StreamSource(dut, "i"), StreamSink(dut, "o", stall=0.3, seed=1)
        cocotb.start_soon(StreamChecker(dut, "o").watch())
        await RisingEdge(dut.clk)
        cocotb.start_soon(source.send_all([1, 2, 3]))
        assert [(await sink.receive()).payload for _ in range(3)] == [2, 4, 6]

The drivers wake only in cycles in which something can happen; without pauses that is most of the speed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

__all__ = ["StreamChecker", "StreamSink", "StreamSource", "Transfer"]


class Transfer(NamedTuple):
    """A payload, as an unsigned number, and the simulator's time steps at its clock edge."""

    payload: int
    time: int


class _Stream:
    """The three signals of a stream and its clock.

    Parameters
    ----------
    dut : handle
        The design.
    name : str
        The signals are ``name__payload``, ``name__valid`` and ``name__ready``.
    clock : str
        Name of the clock.
    stall : float
        Chance of a pause in each cycle before a transfer, from 0 to below 1.
    seed : int or random.Random
        Of the pauses. Drivers that share a generator draw from it in turn.
    """

    def __init__(
        self, dut: Any, name: str, *, clock: str = "clk", stall: float = 0.0,
        seed: int | random.Random = 0,
    ) -> None:  # fmt: skip
        self.name, self.stall = name, stall
        self.rng = seed if isinstance(seed, random.Random) else random.Random(seed)  # noqa: S311
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self._edge = RisingEdge(getattr(dut, clock))

    def _pauses(self) -> bool:
        return bool(self.stall) and self.rng.random() < self.stall


class StreamSource(_Stream):
    """Drives ``valid`` and ``payload``; parameters as for every stream, idle at first."""

    def __init__(self, dut: Any, name: str, **options: Any) -> None:
        super().__init__(dut, name, **options)
        self._rise = RisingEdge(self.ready)
        self.payload.value = 0
        self.stop()

    async def send(self, payload: int) -> Transfer:
        """Transfer one payload; call again or :meth:`stop` in the same cycle."""
        while self._pauses():
            self.valid.value = 0
            await self._edge
        self.payload.value = payload
        self.valid.value = 1
        await self._edge
        while self.ready.value == 0:
            await self._rise
            await self._edge
        return Transfer(payload, get_sim_time("step"))

    async def send_all(self, payloads: Iterable[int]) -> None:
        """Transfer payloads one after the other, then stop."""
        for payload in payloads:
            await self.send(payload)
        self.stop()

    def stop(self) -> None:
        """Offer nothing more."""
        self.valid.value = 0


class StreamSink(_Stream):
    """Drives ``ready``; parameters as for every stream, closed at first."""

    def __init__(self, dut: Any, name: str, **options: Any) -> None:
        super().__init__(dut, name, **options)
        self._rise = RisingEdge(self.valid)
        self._rule = _Rule(name)
        self._open = False
        self.stop()

    async def receive(self) -> Transfer:
        """Take one payload; call again or :meth:`stop` in the same cycle.

        Raises
        ------
        AssertionError
            An offer did not stay until it was taken.
        """
        if self.stall:
            return await self._receive_with_pauses()
        if not self._open:
            self.ready.value = 1
            self._open = True
        await self._edge
        while self.valid.value == 0:
            await self._rise
            await self._edge
        return Transfer(self.payload.value.to_unsigned(), get_sim_time("step"))

    async def _receive_with_pauses(self) -> Transfer:
        while True:
            go = not self._pauses()
            self.ready.value = int(go)
            await self._edge
            valid = self.valid.value == 1
            payload = self.payload.value.to_unsigned() if valid else 0
            self._rule.check(valid, go, payload)
            if valid and go:
                return Transfer(payload, get_sim_time("step"))

    def stop(self) -> None:
        """Take nothing more."""
        self.ready.value = 0
        self._open = False


class StreamChecker(_Stream):
    """Watches a stream and drives nothing: every offer stays until it is taken."""

    async def watch(self) -> None:
        """Check every cycle, without end; start it with ``cocotb.start_soon``.

        Raises
        ------
        AssertionError
            ``valid`` was withdrawn, or the payload changed while it waited.
        """
        rule, rise = _Rule(self.name), RisingEdge(self.valid)
        while True:
            if not rule.waits and self.valid.value == 0:
                await rise
            await self._edge
            valid = self.valid.value == 1
            payload = self.payload.value.to_unsigned() if valid else 0
            rule.check(valid, bool(self.ready.value == 1), payload)


class _Rule:
    """The rule of a stream, cycle by cycle."""

    def __init__(self, name: str) -> None:
        self.name, self.waits, self.payload = name, False, 0

    def check(self, valid: bool, ready: bool, payload: int) -> None:
        """Check one cycle against the cycle before it."""
        if self.waits and not valid:
            raise AssertionError(f"{self.name}: valid was withdrawn before the transfer")
        if self.waits and payload != self.payload:
            raise AssertionError(
                f"{self.name}: payload changed from {self.payload} to {payload} while it waited"
            )
        self.waits, self.payload = valid and not ready, payload
