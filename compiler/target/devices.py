"""The catalogue of FPGA families and devices, from the files of :mod:`.families`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from . import families
from .family import Device, Family

__all__ = ["DEVICES", "FAMILIES"]

DEVICES: dict[str, Device] = {
    device.name: device
    for module in iter_modules(families.__path__)
    for device in import_module(f"{families.__name__}.{module.name}").DEVICES
}
"""Every device by its name."""

FAMILIES: dict[str, Family] = {d.family.name: d.family for d in DEVICES.values()}
"""Every family by its name."""
