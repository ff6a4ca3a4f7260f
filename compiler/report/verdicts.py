"""The first screen: one card a question, and the same facts of several programs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .markup import Markup, el, join, number
from .subject import Subject

__all__ = ["cards", "comparison", "facts"]

SIGNS = {"good": "✓ ", "bad": "✗ ", "open": "", "": ""}


class Fact(NamedTuple):
    """An answer.

    Parameters
    ----------
    label, value, detail : str
    mark : {'', 'good', 'bad', 'open'}
        Verdict; ``open``: nothing is known.
    cost : float, optional
        What is compared with other programs: less is better.
    """

    label: str
    value: str
    detail: str
    mark: str = ""
    cost: float | None = None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _quality(subject: Subject) -> Iterator[Fact]:
    a, s = subject.analysis, subject.analysis["summary"]
    if "accuracy" in a:
        own, data = a["accuracy"], a["data"]
        detail = f"{data['sequences']:,} sequences, at the last step"
        if "float" in own:
            detail = f"float {_percent(own['float'])}; {detail}"
        yield Fact("Accuracy", _percent(own["program"]), detail, cost=-own["program"])
    elif "agreement" in a:
        detail = f"of {a['data']['sequences']:,} sequences are taken for the same class as in float"
        yield Fact("Agreement", _percent(a["agreement"]), detail, cost=-a["agreement"])
    if "error" in a:
        e = a["error"]
        detail = (
            f"rms {number(e['rms'])}, mean {number(e['mean'])}, where float outputs reach "
            f"{number(e['peak'])}; {a['data']['steps']:,} steps"
        )
        yield Fact("Largest error", number(e["max"]), detail, cost=e["rms"])
    elif "error" in s:
        on = "random input" if s.get("calibration") == "synthetic" else "the calibration data"
        detail = f"mean {number(s['error']['mean'])}, on {on}"
        yield Fact("Largest error", number(s["error"]["max"]), detail, cost=s["error"]["mean"])
    else:
        yield Fact("Error", "not measured", "add --data X --model MODEL", "open")


def _speed(subject: Subject, board: dict[str, Any] | None) -> Fact:
    build, cycles = subject.build, subject.analysis["summary"]["cycles_per_step"]
    if build and "microseconds_per_step" in build:
        time, met = build["microseconds_per_step"], build["met"]
        reached = "reached" if met else f"wanted, {number(build['fmax_mhz'], 4)} reached"
        detail = (
            f"{build['steps_per_second']:,.0f} steps a second on {build['board']}: "
            f"{number(build['target_mhz'], 4)} MHz {reached}"
        )
        return Fact("A step", f"{number(time)} µs", detail, "good" if met else "bad", time)
    if board:
        detail = (
            f"{board['steps_per_second']:,.0f} steps a second on {board['name']}, at a clock of "
            f"{cycles / board['microseconds_per_step']:.0f} MHz that builds usually reach"
        )
        time = board["microseconds_per_step"]
        return Fact("A step", f"{number(time)} µs", detail, cost=time)
    time = cycles / 48
    return Fact("A step", f"{number(time)} µs", "at 48 MHz, on no board yet", cost=time)


def _cycles(subject: Subject) -> Fact:
    s = subject.analysis["summary"]
    detail = f"exact; a lone step takes {s['latency_cycles']:,}; {s['macs_per_step']:,} products"
    return Fact("Cycles a step", f"{s['cycles_per_step']:,}", detail, cost=s["cycles_per_step"])


def _memory(subject: Subject) -> Fact:
    bits = {kind: 0 for kind in ("ROM", "RAM")}
    for row in subject.analysis["memories"]:
        if "outside" not in row["memory"]:
            bits[row["kind"]] += row["bits"]
    s = subject.analysis["summary"]
    detail = (
        f"weights {s['weight_rom_bits']:,} bits, control {s['beat_rom_bits']:,}; RAM "
        f"{bits['RAM']:,} bits"
    )
    return Fact("Memory", f"{bits['ROM'] / 8192:.1f} KiB", detail, cost=sum(bits.values()))


def _room(subject: Subject, board: dict[str, Any] | None) -> Iterator[Fact]:
    s, build = subject.analysis["summary"], subject.build
    lanes = f"{s['lanes']} lanes busy {_percent(s['utilization'])} of the time"
    used = None
    if build:
        used, where = build.get("resources", {}).get("multipliers", {}).get("used"), build["board"]
    elif board:
        used, where = board["estimate"]["multipliers"], board["name"]
    if used is None:
        yield Fact("Lanes", f"{s['lanes']}", f"busy {_percent(s['utilization'])} of the time")
    else:
        yield Fact("Multipliers", f"{used}", f"on {where}; {lanes}", cost=used)
    if build:
        fullest = _fullest(build.get("resources", {}))
        detail = f"{build['device']}; fullest: {fullest}" if fullest else build.get("error", "")
        fits = bool(build.get("bitstream"))
        value = build["board"] if fits else "no bitstream"
        yield Fact("Board", value, detail, "good" if fits else "bad")
    elif subject.boards:
        fit = subject.fitting
        price = "${} to ${}".format(*fit[0]["price"]) if fit else ""
        detail = (
            f"the cheapest is {fit[0]['name']}, {price}" if fit else "see below what would help"
        )
        value = f"{len(fit)} of {len(subject.boards)}"
        yield Fact("Boards it fits", value, detail, "good" if fit else "bad", -len(fit))
    elif len(subject.program.passes) > 1:
        detail = "each is a bitstream of its own, with a buffer for the sequence between them"
        yield Fact("Passes", f"{len(subject.program.passes)}", detail)


def _fullest(resources: dict[str, Any]) -> str:
    """Name the resource that is used the most."""
    shares = {n: r["used"] / r["available"] for n, r in resources.items() if r["available"]}
    if not shares:
        return ""
    name = max(shares, key=lambda n: shares[n])
    return f"{100 * shares[name]:.0f} % of the {name.replace('_', ' ')}"


def _proof(subject: Subject) -> Fact:
    done = subject.proof
    if not done:
        detail = "gatewright simulate PROGRAM X compares every output and every cycle"
        return Fact("Proven", "not compared here", detail, "open")
    exact = bool(done["bit_exact"] and done["cycle_exact"])
    value = "bit for bit" if exact else "it differs"
    detail = (
        f"Verilog in {done['simulator']} against the golden model: every output and cycle of "
        f"{done['steps']:,} steps"
    )
    return Fact("Proven", value, detail, "good" if exact else "bad")


def facts(subject: Subject, among: Sequence[Subject] = ()) -> list[Fact]:
    """Return the answers about a program, in the order of the questions.

    On the cheapest board that it fits on, or where there is one, that all of ``among`` fit on.
    """
    names = [{b["name"] for b in each.fitting} for each in among if each.build is None]
    built = [each.build["board"] for each in among if each.build]
    fit = subject.fitting
    shared = [b for b in fit if b["name"] in built] or [
        b for b in fit if all(b["name"] in each for each in names)
    ]
    board = next(iter(shared or fit), None)
    return [
        *_quality(subject), _speed(subject, board), _cycles(subject), _memory(subject), *_room(subject, board),
        _proof(subject),
    ]  # fmt: skip


def cards(subject: Subject) -> Markup:
    """Return the cards of one program."""
    made = (
        el(
            "li", el("h2", fact.label), el("strong", SIGNS[fact.mark] + fact.value),
            el("p", fact.detail), class_=f"card {fact.mark}".strip(),
        )
        for fact in facts(subject)
    )  # fmt: skip
    return el("ul", *made, class_="cards")


def comparison(subjects: Sequence[Subject]) -> Markup:
    """Return the facts of several programs as a table, the best of each row marked."""
    found = [{fact.label: fact for fact in facts(subject, subjects)} for subject in subjects]
    labels = list(dict.fromkeys(label for each in found for label in each))
    rows = []
    for label in labels:
        costs = [fact.cost for each in found if (fact := each.get(label)) and fact.cost is not None]
        best = min(costs) if len(costs) == len(found) and len(set(costs)) > 1 else None
        cells = []
        for each in found:
            fact = each.get(label)
            if fact is None:
                cells.append(el("td", "-"))
                continue
            mark = "best" if best is not None and fact.cost == best else fact.mark
            star = el("small", " best", class_="star") if mark == "best" else None
            value = el("strong", SIGNS[fact.mark] + fact.value, star)
            cells.append(el("td", value, el("p", fact.detail), class_=mark or None))
        rows.append(el("tr", el("th", label, scope="row"), *cells))
    head = el("tr", el("th", ""), *(el("th", subject.name, scope="col") for subject in subjects))
    table = el("table", el("thead", head), el("tbody", *rows), class_="versus",
               style=f"--n:{len(subjects)}")  # fmt: skip
    return el("div", join(table), class_="wide")
