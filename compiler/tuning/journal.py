"""Journal of a search over widths, on disk: an interrupted search goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config
from ..errors import InputError
from ..files.atomic import atomic_write
from ..files.json_file import read_json
from ..files.owned import PROGRAM, refuse_foreign, refuse_taken
from ..ir.model import Linear, Model
from .result import Point

__all__ = ["Journal", "search_key"]

RESULTS = {"result.json": "result", "config.toml": "configuration", "pareto.png": "plot"}
"""What a search writes into its folder, beside its journal and the program."""


class Journal:
    """Evaluations in a folder, one a line of ``journal.jsonl``; its first line says of what.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    key : str
        From :func:`search_key`.

    Attributes
    ----------
    points : dict of str -> Point
        What was evaluated, by the widths.

    Raises
    ------
    InputError
        The journal is damaged, or that of another search.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self.path, self.points = folder / "journal.jsonl", dict[str, Point]()
        refuse_taken(folder, self.path.name, RESULTS)
        refuse_foreign(folder / "program", folder / "program", PROGRAM)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot use {folder} for the search: {error}") from error
        # What an interruption cut off has no end of line.
        lines = text[: text.rfind("\n") + 1].splitlines()
        try:
            head, *rest = [read_json(line, str(self.path), "delete it") for line in lines] or [
                {"key": key}
            ]
            own = head["key"]
            self.points = {item["name"]: Point(**item["point"]) for item in rest}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); delete it to start again"
            ) from error
        if own != key:
            raise InputError(
                f"{self.path} is of a search with another model, data or options; give another "
                "folder, or delete it"
            )
        kept = lines or [json.dumps({"search": "gatewright tune", "key": key})]
        atomic_write(self.path, lambda file: file.write(("\n".join(kept) + "\n").encode()))

    def add(self, name: str, point: Point) -> None:
        """Keep an evaluation."""
        self.points[name] = point
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "point": asdict(point)}) + "\n")

    def finished(self, max_loss: float) -> dict[str, Any] | None:
        """Return the result, if this search was finished with this limit."""
        path = self.folder / "result.json"
        try:
            data = read_json(path.read_bytes(), str(path), "delete it") if path.exists() else {}
            if not isinstance(data, dict):
                raise ValueError("no object")
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it") from error
        whole = data.pop("key", "") == self.key and data.get("max_loss") == max_loss
        return data if whole and (self.folder / "program" / "program.json").exists() else None

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result: from then on the search is finished."""
        text = json.dumps({"key": self.key, **result}, indent=1) + "\n"
        atomic_write(self.folder / "result.json", lambda file: file.write(text.encode()))


def search_key(
    model: Model, fit: tuple[Any, ...], test: tuple[Any, ...], kind: str, config: Config, seed: int
) -> str:
    """Return a digest of all that an evaluation depends on, the widths apart."""
    sha = hashlib.sha256(f"{kind} {seed} {json.dumps(config.to_json(), sort_keys=True)}".encode())
    arrays = [*fit, *test]
    for layer in model.layers:
        sha.update(f"{layer.name} {layer.inputs}".encode())
        if isinstance(layer, Linear):
            arrays += [layer.w, layer.bias]
        else:
            sha.update(f"{layer.cell} {layer.gate} {layer.candidate} {layer.slope}".encode())
            arrays += [a for d in (layer.w, layer.u, layer.b, layer.c) for a in d.values()]
    for array in arrays:
        whole = np.zeros(0) if array is None else np.ascontiguousarray(array)
        sha.update(f"{whole.shape} {whole.dtype}".encode() + whole.tobytes())
    return sha.hexdigest()
