"""Random modules as both exporters of PyTorch write them: each equals float64 PyTorch or is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.onnx import load_onnx
from gatewright.compiler.ir.model import Model
from support.random_modules import Net, Way, outcomes

pytest.importorskip("onnxscript")
IMPORT = "ignore"


def by_export(path: Path, dynamo: bool) -> Way:
    """Return the reader of the ONNX file that an exporter writes, with the exporter's defaults."""

    def read(rng: random.Random, net: Net, x: torch.Tensor) -> Model:
        try:
            with torch.no_grad():
                torch.onnx.export(net, (x,), str(path), dynamo=dynamo, verbose=False)
        except Exception as error:  # each exporter lacks some operators
            raise InputError(f"not exported: {type(error).__name__}") from error
        return load_onnx(path)

    return read


def ways(folder: Path) -> dict[str, Way]:
    """Return the reader by each exporter."""
    names = {"legacy": False, "dynamo": True}
    return {name: by_export(folder / f"{name}.onnx", dynamo) for name, dynamo in names.items()}


@pytest.mark.filterwarnings(IMPORT)
def test_random_modules_by_both_exporters_equal_pytorch_or_are_refused(tmp_path):
    counts = outcomes(range(12), ways(tmp_path))
    print(*sorted(counts.items()), sep="\n")
    # Dynamo unrolls nn.RNN and loops of cells, which six of these have: refused.
    assert counts["legacy equal"] >= 8 and counts["dynamo equal"] >= 4


@pytest.mark.full
@pytest.mark.filterwarnings(IMPORT)
@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_more_random_modules_equal_pytorch_or_are_refused(tmp_path, exporter):
    """Dynamo takes about ten seconds a module, and unrolls nn.RNN: that is refused."""
    counts = outcomes(range(1000, 1200), {exporter: ways(tmp_path)[exporter]})
    print(*sorted(counts.items()), sep="\n")
    assert counts[f"{exporter} equal"] >= {"legacy": 145, "dynamo": 95}[exporter]
