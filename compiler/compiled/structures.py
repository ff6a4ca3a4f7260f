"""The structs of ``run.cpp``, field by field in the same order."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["Delta", "Gate", "Layer", "Matrix", "Run", "Source"]

I64, POINTER = ctypes.c_int64, ctypes.c_void_p


def _structure(name: str, *fields: tuple[str, Any]) -> Any:
    """Return a structure; each field names members, separated by blanks, and their type."""
    members = [(each, kind) for names, kind in fields for each in names.split()]
    return type(name, (ctypes.Structure,), {"_fields_": members})


Matrix = _structure("Matrix", ("wide rows columns", I64), ("weights", POINTER))
Delta = _structure("Delta", ("threshold", I64), ("last changed", POINTER))
Source = _structure("Source", ("vector shift", I64), ("delta", Delta))
Gate = _structure(
    "Gate",
    ("act bounded from_c walk input recurrent from_rh reset post by keep to", I64),
    ("shift_input shift_recurrent bias_input bias_recurrent sums trace", POINTER),
    ("clipped hidden_clipped", I64),
)
Layer = _structure(
    "Layer",
    ("size recurrent walks read gate_count source_count", I64),
    ("gates sources", POINTER),
    ("x h rh", Matrix),
    ("delta_h delta_rh", Delta),
    ("state cell trace trace_cell", POINTER),
    ("operand_clipped cell_clipped", I64),
)
Run = _structure(
    "Run",
    ("n steps inputs layer_count output_count outputs argmax", I64),
    ("activation_bits state_bits gate_bits sum_shift hidden_shift hidden_bits cell_bits", I64),
    ("cell_frac pre_bits pre_frac argument_bits fraction_bits direct slope slope_frac guard", I64),
    ("table_size", I64),
    ("base rise layers output_layers x out", POINTER),
)
