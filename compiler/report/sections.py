"""Sections of a page below its first screen, each with a part for every program that has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from . import pictures
from .charts import Axis, bar_rows, columns, curve, figure, frame, legend, strip
from .markup import Markup, el, join, number
from .subject import Subject
from .text import tables

__all__ = ["sections"]

SOURCES = 10
"""Roundings that are shown at most."""
CLASSES = 32
"""Classes up to which a confusion matrix is shown."""
RESOURCES = {
    "luts": "LUTs", "flip_flops": "flip-flops", "multipliers": "multipliers",
    "block_rams": "block RAMs", "spram": "single-port RAMs",
}  # fmt: skip


class Section(NamedTuple):
    """A section of a page.

    Parameters
    ----------
    heading, note : str
    parts : list of Markup or None
        The part of each program.
    stacked : bool
        Parts of several programs are too wide to lie side by side.
    """

    heading: str
    note: str
    parts: list[Markup | None]
    stacked: bool = False


def sections(subjects: Sequence[Subject]) -> Iterator[Section]:
    """Yield the sections that some program has a part of."""
    longest = max(p.summary["cycles_per_step"] for s in subjects for p in s.program.passes)

    def each(heading: str, part: Callable[[Subject], Markup | None], note: str = "",
             stacked: bool = False) -> Section:  # fmt: skip
        return Section(heading, note, [part(subject) for subject in subjects], stacked)

    made = (
        each("What the error comes from", _sources,
             "Share of the squared error of the outputs that is gone when one rounding is switched "
             "off. Errors meet on their way, so shares need not add up to 100 %."),
        each("A step on the engine", lambda subject: _steps(subject, longest),
             "One step of the steady state, drawn from the schedule, which the hardware follows to "
             "the cycle. Pale: the second part of a walk. Below the lanes is the elementwise unit, "
             "a line for each gate; it follows the lanes, so its first beats belong to the step "
             "before.", stacked=True),
        each("The network and its formats", lambda subject: pictures.network(subject.program),
             "Qb.f is a signed number of b bits, f of them after the binary point."),
        each("Float against fixed point", _sequence),
        each("Classes", _classes),
        each("Values against their formats", _values,
             "The width of each picture is the range of the format.", stacked=True),
        each("Resources", _resources),
        each("Clock", _clock),
        each("Boards", _boards, "Estimates before synthesis; cycles are exact."),
        each("All figures", _tables, stacked=True),
    )  # fmt: skip
    yield from (section for section in made if any(part is not None for part in section.parts))


def _table(rows: Sequence[Sequence[str | Markup]], kind: str = "") -> Markup:
    """Return a table; the first row is its head."""
    head, *body = rows
    made = [el("tr", *(el("td", cell) for cell in row)) for row in body]
    table = el(
        "table", el("thead", el("tr", *(el("th", cell, scope="col") for cell in head))),
        el("tbody", *made), class_=kind or None,
    )  # fmt: skip
    return el("div", table, class_="wide")


# -- error ------------------------------------------------------------------------


def _sources(subject: Subject) -> Markup | None:
    limits = subject.analysis.get("limits")
    if limits is None:
        return el("p", "Not measured: add ", el("code", "--data X --model MODEL"), ".")
    said = el("ul", *(el("li", text) for text in limits["text"])) if limits["text"] else None
    rows = []
    for part in limits.get("parts", [])[:SOURCES]:
        what = part["what"].removeprefix("rounding of ").removeprefix("the ")
        kind = "c0" if "weights" in what else "c1"
        rows.append((f"{what}, {part['bits']} bits", part["share"], _percent(part["share"]), kind))
    if not rows:
        return join(
            said,
            el(
                "p",
                "Not measured: roundings are switched off one by one only in programs of one pass.",
            ),
        )
    return join(figure(bar_rows(rows)), legend([("weights", "c0"), ("operands", "c1")]))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-", "\N{MINUS SIGN}")


def _sequence(subject: Subject) -> Markup | None:
    piece, error = subject.analysis.get("sequence"), subject.analysis.get("error")
    if piece is None or error is None:
        return None
    wanted, got = piece["float"], piece["fixed"]
    steps = list(range(piece["first"], piece["first"] + len(wanted)))
    x = Axis(steps[0], max(steps[-1], steps[0] + 1), "step", whole=True)
    low, high = min(*wanted, *got), max(*wanted, *got)
    room = 0.05 * (high - low) or 1.0
    y = Axis(low - room, high + room, "value")
    about = f"output {piece['output']} over {len(steps)} steps, float and fixed point"
    both = frame(
        [curve(steps, wanted, x, y, "thick c0"), curve(steps, got, x, y, "c1")], x, y, about, "tall"
    )
    where = (
        f"Output {piece['output']} of sequence {piece['sequence']}, where the error is the largest."
    )
    return join(
        figure(both, where), legend([("float", "c0"), ("fixed point", "c1")]), _over_time(error)
    )


def _over_time(error: dict[str, Any]) -> Markup:
    """Draw the largest and the mean error of every step."""
    steps, by = error["by_step"]["step"], error["by_step"]
    positive = [v for v in (*by["max"], *by["mean"]) if v > 0]
    x = Axis(steps[0], max(steps[-1], steps[0] + 1), "step", whole=True)
    if not positive:
        return el("p", "There is no error at all.")
    y = Axis(min(positive) / 1.2, max(positive) * 1.2, "absolute error", log=True)
    lines = [
        curve(steps, [max(v, y.low) for v in by["max"]], x, y, "c3"),
        curve(steps, [max(v, y.low) for v in by["mean"]], x, y, "c0"),
    ]
    about = f"error over {len(steps)} steps: at most {number(error['max'])}"
    text = "Difference to the float model at each step, over all sequences and outputs."
    return join(
        figure(frame(lines, x, y, about), text), legend([("largest", "c3"), ("mean", "c0")])
    )


def _classes(subject: Subject) -> Markup | None:
    found = subject.analysis.get("classes")
    if found is None:
        return None
    counts = found["confusion"]
    names = [str(name) for name in found.get("names", range(len(counts)))]
    figures = [["class", "sequences", "recall", "precision"]]
    for name, row, recall, precision in zip(
        names, counts, found["recall"], found["precision"], strict=True
    ):
        shares = ("-" if v is None else f"{100 * v:.1f} %" for v in (recall, precision))
        figures.append([name, f"{sum(row):,}", *shares])
    if len(counts) > CLASSES:
        return _table(figures, "numbers")
    head = el("tr", el("th", "is ↓ taken for →"), *(el("th", name, scope="col") for name in names))
    rows = []
    for k, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = (
            el("td", f"{n:,}" if n else "·", class_="right" if j == k else "wrong" if n else "none",
               style=f"--share:{n / total:.2f}" if n else None)
            for j, n in enumerate(row)
        )  # fmt: skip
        rows.append(el("tr", el("th", name, scope="row"), *cells))
    matrix = el("table", el("thead", head), el("tbody", *rows), class_="confusion")
    return el("div", el("div", matrix, class_="wide"), _table(figures, "numbers"), class_="two")


# -- values -----------------------------------------------------------------------


def _values(subject: Subject) -> Markup | None:
    """Draw a histogram of each gate's weights, and of vectors where there are data."""
    made = []
    for row in subject.analysis["formats"]:
        if "counts" not in row:
            continue
        low, high = row["range"]
        weights = row["kind"] == "weight"
        used = row["peak"] / max(high, -low)
        text = f"{100 * used:.0f} % used"
        ends = (-(1 << row["bits"] - 1), (1 << row["bits"] - 1) - 1) if weights else (low, high)
        spans = [number(end, 5 if weights else 3) for end in ends]
        if weights:
            text = f"{row['bits']} bits, {100 * row['zeros']:.0f} % zeros"
        picture = frame(
            [columns(row["counts"], "c0" if weights else "c2")], Axis(0, 0), None,
            f"histogram of {row['tensor']}: {text}", "small",
        )  # fmt: skip
        line = el("p", el("span", spans[0]), el("span", text), el("span", spans[1]), class_="ends")
        made.append(
            el("figure", el("figcaption", el("b", row["tensor"]), f" {row['kind']}"), picture, line)
        )
    kinds = [("weights, in codes", "c0"), ("values on the data", "c2")]
    return join(el("div", *made, class_="many"), legend(kinds[: 1 + ("data" in subject.analysis)]))


# -- engine and board -------------------------------------------------------------


def _steps(subject: Subject, longest: int) -> Markup:
    passes, hues = subject.program.passes, pictures.colours(subject.program)
    made = []
    for k, each in enumerate(passes):
        head = el("h3", f"pass {k}") if len(passes) > 1 else None
        made.append(join(head, pictures.step(each, hues, longest if len(passes) == 1 else 0)))
    return join(*made)


def _resources(subject: Subject) -> Markup | None:
    build, boards = subject.build, subject.fitting
    if build and "resources" in build:
        head = f"{build['board']} ({build['device']})"
        used = {n: (r["used"], r["available"]) for n, r in build["resources"].items()}
        expected = build["estimate"]
    elif boards:
        best = boards[0]
        head = f"{best['name']} ({best['device']}), estimated"
        used = {n: (best["estimate"][n], best[n]) for n in best["estimate"] if best.get(n)}
        expected = {}
    else:
        return None
    rows = []
    for name, title in RESOURCES.items():
        if name not in used:
            continue
        own, of = used[name]
        share = own / of if of else 0.0
        text = f"{100 * share:.0f} %: {own:,} of {of:,}"
        if name in expected:
            text += f" (estimated {expected[name]:,})"
        rows.append((title, share, text, "c3" if share > 0.9 else "c0"))
    return join(el("p", head), figure(bar_rows(rows)))


def _clock(subject: Subject) -> Markup | None:
    build = subject.build
    if not build or not build.get("tries"):
        return None
    rows = [["route", "aimed at", "seed", "reached", ""]]
    for k, tried in enumerate(build["tries"], 1):
        fmax = tried["fmax_mhz"]
        reached = "failed" if fmax is None else f"{fmax:.2f} MHz"
        verdict = "" if fmax is None else "✓ met" if fmax >= tried["target_mhz"] else "✗ missed"
        rows.append(
            [str(k), f"{tried['target_mhz']:.2f} MHz", str(tried["seed"]), reached, verdict]
        )
    return join(_path(build.get("path", [])), el("h3", "Clocks that were tried"), _table(rows))


def _path(path: Sequence[dict[str, Any]]) -> Markup | None:
    """Draw the slowest path: logic and routing in turn."""
    total = sum(step["ns"] for step in path)
    if total <= 0:
        return None
    spans, at = [], 0.0
    for step in path:
        kind = "c1" if step["kind"] == "routing" else "c0"
        spans.append((at, step["ns"], kind, f"{step['kind']} {step['ns']:.2f} ns: {step['name']}"))
        at += step["ns"]
    wires = sum(step["ns"] for step in path if step["kind"] == "routing")
    line = strip(spans, total, f"critical path of {total:.2f} ns", "tall")
    text = f"{total:.2f} ns, {wires:.2f} of them on wires, from "
    ends = join(el("code", path[0]["name"]), " to ", el("code", path[-1]["name"]))
    return join(
        el("h3", "The path that limits the clock"), figure(line),
        legend([("logic", "c0"), ("wires", "c1")]), el("p", text, ends, class_="long"),
    )  # fmt: skip


def _boards(subject: Subject) -> Markup | None:
    if not subject.boards or subject.build:
        return None
    rows: list[list[str]] = [["board", "price", "lanes", "µs a step", "steps a second"]]
    for board in subject.fitting:
        low, high = board["price"]
        rows.append([
            board["name"], f"${low}-{high}", f"{board['lanes']}",
            number(board["microseconds_per_step"]), f"{board['steps_per_second']:,.0f}",
        ])  # fmt: skip
    lacking = [
        el("li", el("b", board["name"]), ": " + board["fits"].split(f" on {board['name']}: ")[-1])
        for board in subject.boards if board["fits"] is not True
    ]  # fmt: skip
    return join(
        _table(rows, "numbers") if subject.fitting else None,
        el("h3", "Does not fit") if lacking else None, el("ul", *lacking) if lacking else None,
    )  # fmt: skip


def _tables(subject: Subject) -> Markup:
    return join(
        *(
            el("details", el("summary", title), _table(rows))
            for title, rows in tables(subject.analysis).items()
        )
    )
