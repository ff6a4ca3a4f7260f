"""A report as text, and the tables that text and page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["tables", "to_text"]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * width for width in widths]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def tables(analysis: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Return the tables of a report by title, each with a head, as text cells."""
    fmt = [["tensor", "kind", "format", "range", "largest", "used", "zeros", "signal to noise"]]
    for row in analysis["formats"]:
        low, high = row["frac"]
        frac = str(low) if low == high else f"{low}..{high}"
        zeros = f"{100 * row['zeros']:.0f} %" if "zeros" in row else ""
        peak = f"{row['peak']:.4g}" if "peak" in row else ""
        used = f"{100 * row['peak'] / max(row['range'][1], -row['range'][0]):.0f} %" if peak else ""
        ratio = f"{row['snr']:.1f} dB" if "snr" in row else ""
        span = f"{row['range'][0]:g} to {row['range'][1]:.5g}"
        fmt.append(
            [row["tensor"], row["kind"], f"Q{row['bits']}.{frac}", span, peak, used, zeros, ratio]
        )
    out = {"Formats": fmt}
    memory = [["memory", "kind", "words", "width", "bits"]]
    memory += [
        [m["memory"], m["kind"], f"{m['words']:,}", str(m["width"]), f"{m['bits']:,}"]
        for m in analysis["memories"]
    ]
    out["Memories"] = memory
    cycles = [["layer", "cell", "tiles", "cycles", "MACs", "utilization"]]
    cycles += [
        [c["layer"], c["cell"], str(c["tiles"]), f"{c['cycles']:,}", f"{c['macs']:,}",
         f"{100 * c['utilization']:.1f} %"]
        for c in analysis["cycles"]["layers"]
    ]  # fmt: skip
    whole = analysis["cycles"]
    cycles.append(["waiting", "", "", f"{whole['waiting']:,}", "", ""])
    total = f"{analysis['summary']['macs_per_step']:,}"
    cycles.append(
        ["a step", "", "", f"{whole['per_step']:,}", total, f"{100 * whole['utilization']:.1f} %"]
    )
    out["Cycles"] = cycles
    source = {"calibration": analysis["summary"].get("saturations", {})}
    if "data" in analysis:
        source["data"] = analysis["data"]["saturations"]
    clipped = [["saturations on", "place", "clipped", "of"]]
    for where, places in source.items():
        clipped += [[where, p, f"{c:,}", f"{of:,}"] for p, (c, of) in places.items()]
        if not places:
            clipped.append([where, "none", "0", ""])
    out["Saturations"] = clipped
    if "parts" in analysis.get("limits", {}):
        out["What the error comes from"] = [
            ["switched off", "bits", "squared error that is gone"],
            *([part["what"], str(part["bits"]), f"{100 * part['share']:.1f} %"]
              for part in analysis["limits"]["parts"]),
        ]  # fmt: skip
    if delta := analysis.get("data", {}).get("delta"):
        out["Unchanged columns (delta engine)"] = [
            ["threshold of x, of states", "columns a step", "unchanged", "cycles of the walk", "would be saved"],
            [f"{delta['threshold_input']}, {delta['threshold']}", f"{delta['columns']:,}",
             f"{100 * delta['skipped']:.1f} %", f"{delta['walk']:,}", f"{delta['saved']:,.0f}"],
        ]  # fmt: skip
    return out


def facts(analysis: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the headline figures of a report as text."""
    s = analysis["summary"]
    rows = [
        ("program", s["digest"][:16]),
        *_engines(s),
        ("cycles a step", f"{s['cycles_per_step']:,}, a lone step {s['latency_cycles']:,}"),
        ("utilization", f"{100 * s['utilization']:.1f} %"),
        ("ROM", f"{s['weight_rom_bits'] + s['beat_rom_bits']:,} bits"),
    ]
    if "error" in s:
        on = (
            "normally distributed input"
            if s.get("calibration") == "synthetic"
            else "calibration data"
        )
        rows.append(
            ("error", f"max {s['error']['max']:.3g}, mean {s['error']['mean']:.3g} on {on}")
        )
    if "error" in analysis:
        e = analysis["error"]
        steps = f"{analysis['data']['steps']:,} steps of the data"
        rows.append(
            ("error", f"max {e['max']:.3g}, mean {e['mean']:.3g}, rms {e['rms']:.3g} on {steps}")
        )
    if "accuracy" in analysis:
        a = analysis["accuracy"]
        text = f"{100 * a['program']:.1f} % at the last step"
        rows.append(
            ("accuracy", text + (f", float {100 * a['float']:.1f} %" if "float" in a else ""))
        )
    if "agreement" in analysis:
        share = f"{100 * analysis['agreement']:.1f} % of the sequences"
        rows.append(("agreement", f"{share} are taken for the same class as in float"))
    rows += [("limit", text) for text in analysis.get("limits", {}).get("text", [])]
    return rows


def _engines(s: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what the engine is like, of each pass where there are several."""

    def engine(s: dict[str, Any]) -> str:
        text = f"{s['lanes']} lanes, {s['split']} columns at once, {s['beat']} rows a beat"
        return text + (f", {s['streams']} streams in turn" if "streams" in s else "")

    if "passes" not in s:
        return [("engine", engine(s))]
    rows = []
    for k, p in enumerate(s["passes"]):
        way = ", end first" if p["reverse"] else ""
        cycles = f"{p['cycles_per_step']:,} cycles a step"
        rows.append((f"pass {k}", f"reads {' + '.join(p['reads'])}{way}: {engine(p)}, {cycles}"))
    words, bits = s["buffer"]["words_per_step"], s["buffer"]["bits_per_step"]
    return [*rows, ("buffer", f"{words:,} words, {bits:,} bits a step of the sequence")]


def to_text(analysis: dict[str, Any]) -> str:
    """Return a report as plain text."""
    head = "\n".join(f"{name:14}  {value}" for name, value in facts(analysis))
    parts = [f"{title}\n{columns(rows)}" for title, rows in tables(analysis).items()]
    return "\n\n".join([head, *parts])
