"""The fixture that reads a graph as a file."""

from __future__ import annotations

import pytest
from gatewright.compiler.frontends.onnx import load_onnx


@pytest.fixture
def load(tmp_path):
    """Write a model to a file and load it."""

    def write(model, **kwargs):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return load_onnx(path, **kwargs)

    return write
