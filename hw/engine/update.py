"""The operation after the activation: new states, products, and what is kept."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.ir.network import BOUNDED, QNetwork
from ...compiler.layout.tables import POSTS
from ...compiler.numerics.activation import ACTIVATIONS
from ..blocks.arith import Delay, saturate, shift
from ..blocks.multiplier import LATENCY, Multiplier
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["Update"]


class Update(wiring.Component):
    """``start + shift(left * (x - y))``, saturated, with operands chosen by the operation.

    Parameters
    ----------
    network : QNetwork
    posts, acts : set of str
        Operations and activations the program has; hardware is made for those only.
    keep_bits, state_bits : int
        Widths of the memories.
    family : VendorFamily

    Members
    -------
    act, post : In
        Indices into ``ACTIVATIONS`` and ``POSTS``.
    a : In(signed)
        The activation.
    kept : In(keep_bits), old : In(signed(state_bits))
        Kept value and old state.
    result : Out(signed(state_bits))

    Timing: ``latency`` cycles, a value a cycle; all inputs in cycle 0.
    """

    act: Signal
    post: Signal
    a: Signal
    kept: Signal
    old: Signal
    result: Signal
    latency = 2 + LATENCY + 2

    def __init__(
        self, *, network: QNetwork, posts: set[str], acts: set[str], keep_bits: int,
        state_bits: int, family: VendorFamily = GENERIC,
    ) -> None:  # fmt: skip
        self.network, self.posts, self.acts, self.family = network, posts, acts, family
        self.keep_bits, self.state_bits = keep_bits, state_bits
        n = network.numbers
        super().__init__({
            "act": In(range(len(ACTIVATIONS))), "post": In(range(len(POSTS))),
            "a": In(signed(max(n.gate_bits + 1, n.state_bits))), "kept": In(keep_bits),
            "old": In(signed(state_bits)), "result": Out(signed(state_bits)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.network.numbers
        a, old = self.a, self.old
        products = {"times_c", "times"} & self.posts
        k = self.kept.as_signed() if "times_c" in self.posts else self.kept
        bounded = sorted(ACTIVATIONS.index(name) for name in self.acts if name in BOUNDED)
        is_bounded: Value = Const(len(bounded) > 0, 1)
        if 0 < len(bounded) < len(self.acts):
            is_bounded = self.act.matches(*bounded)
        # Cycle 0: the activation as a value; choose. Cycle 1: the difference.
        value = Mux(is_bounded, shift(a[: n.gate_bits + 1].as_signed(), -n.align), a)
        # Rounding can carry a value just beyond a state's top, and a sigmoid reaches it.
        more = n.align < 0 or self.network.blends_sigmoid
        blended = value[: n.state_bits + more].as_signed()
        zero: Value = Const(0)
        terms: dict[str, tuple[Value, Value, Value, Value]] = {
            "pass": (zero, zero, zero, value),
            "blend": (k, old, blended, value),
            "leak": (k, blended, old, old),
            "times_h": (a, old, zero, zero),
            "times_c": (k, a, zero, zero),
            "cell": (a, old, zero, k),
            "times": (k, a, zero, zero),
        }
        used = [(name, terms[name]) for name in sorted(self.posts)]

        def register(which: int, name: str) -> Signal:
            """Make a register that holds one term of every operation."""
            bits = max(len(t[which]) + (not t[which].shape().signed) for _, t in used)
            return Signal(signed(bits), name=name, reset_less=True)

        x, y = register(1, "x"), register(2, "y")
        start = register(3, "start")
        # A gate's magnitude: one bit less where nothing with a sign is multiplied by.
        plain = {name for name, t in used if name != "pass" and not t[0].shape().signed}
        unsigned_left = plain == self.posts - {"pass"}
        left = (
            Signal(unsigned(self.keep_bits), name="left", reset_less=True)
            if unsigned_left
            else register(0, "left")
        )
        with m.Switch(self.post):
            for name, (c, p, q, z) in used:
                with m.Default() if name == used[-1][0] else m.Case(POSTS.index(name)):
                    m.d.sync += [left.eq(c), x.eq(p), y.eq(q), start.eq(z)]
        right = Signal(signed(max(len(x), len(y)) + 1), reset_less=True)
        m.d.sync += right.eq(x - y)
        if not {"blend", "leak"} & self.posts:
            right = Signal(signed(len(x)), name="right_x", reset_less=True)
            m.d.sync += right.eq(x)
        product: Value = Const(0, signed(1))
        if self.posts != {"pass"}:
            m.submodules.multiplier = unit = Multiplier(
                left.shape(), right.shape(), family=self.family
            )
            m.d.comb += [unit.a.eq(Delay(m, left, 1).at(2)), unit.b.eq(right)]
            product = unit.p
        # Then round and add in one sum. All products are brought to the longest shift; the
        # half that rounding adds stands below the start value, where there are no bits of it.
        at = 2 + LATENCY
        post, add = Delay(m, self.post).at(at), Delay(m, start, 1).at(at)
        amounts = {name: self._amount(name) for name in sorted(self.posts)}
        most = max(0, *amounts.values())
        moved = Signal(signed(len(product) + most - min(amounts.values())))
        half = Signal()
        with m.Switch(post):
            for name, amount in amounts.items():
                with m.Default() if name == used[-1][0] else m.Case(POSTS.index(name)):
                    m.d.comb += [moved.eq(product << (most - amount)), half.eq(amount > 0)]
        total = Signal(signed(max(len(add), len(moved) - most) + 2), reset_less=True)
        wide = Cat(Const(0, most - 1), half, add).as_signed() if most else add
        m.d.sync += total.eq((wide + moved) >> most)
        # Last cycle: saturate.
        narrow = saturate(total, n.state_bits)
        if products:
            late = Delay(m, post, at).at(at + 1)
            is_cell = (late == POSTS.index("cell")) | (late == POSTS.index("times_c"))
            narrow = Mux(is_cell, saturate(total, n.cell_bits), narrow)
        m.d.sync += self.result.eq(narrow)
        return m

    def _amount(self, name: str) -> int:
        """Return the bits that are rounded away from an operation's product."""
        n = self.network.numbers
        if name == "times_c":
            return 2 * n.gate_frac - n.cell_frac
        return 2 * n.gate_frac - (n.state_bits - 1) if name == "times" else n.gate_frac
