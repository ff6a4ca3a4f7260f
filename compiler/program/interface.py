"""Facts that a design around a core needs, in one list.

``inspect --json`` prints it, and :mod:`gatewright.hw.export.headers` writes it for C and SystemVerilog.
"""

from __future__ import annotations

import zlib
from typing import Any

from .program import Program

__all__ = ["interface"]


def interface(program: Program) -> dict[str, Any]:
    """Return formats, orders, cycles and digests of a program's core as a JSON object.

    Parameters
    ----------
    program : Program

    Returns
    -------
    dict
        ``digest``, ``hardware_digest`` : 64 hexadecimal digits. ``contents_crc`` : CRC-32 of the
        memories, which a loadable core compares, and ``contents_chunks``, of 16 bits, ``beats`` and
        ``weights``. ``input`` : ``size``, ``bits`` and ``frac`` of a
        code, and ``exponents`` by feature: the code of feature i stands for
        ``code * 2**(exponents[i] - frac)``. ``output`` : ``size``, ``bits``; ``kind``, ``values`` or
        ``class`` (the index of the largest); by output ``frac`` and ``names``; ``order``, the output
        that each transfer of a step carries. ``state`` : ``bits`` and ``words`` of the port, and
        the ``vectors`` that follow each other on it. ``cycles`` : ``per_step`` in the steady state, and
        ``latency``, from the first input element of a lone step to its last output. ``streams``, the
        sequences that take steps in turn.
    """
    net = program.network
    steady, latency = program.schedule.cycles()
    fmt = net.input_format
    if net.argmax:
        names, fracs = ["class"], [0]
    else:
        names = [f"{name}[{i}]" for name in net.outputs for i in range(net.size(name))]
        fracs = [net.layer(name).frac for name in net.outputs for _ in range(net.size(name))]
    vectors = [
        {"layer": layer.name, "vector": vector, "size": layer.size, "bits": f.bits, "frac": f.frac}
        for layer in net.layers
        for vector, f in zip("hc", net.state_formats(layer), strict=False)
    ]
    return {
        "digest": program.digest,
        "hardware_digest": program.hardware_digest,
        "contents_crc": zlib.crc32(program.images.contents),
        "contents_chunks": dict(
            zip(("beats", "weights"), program.images.chunk_counts, strict=True)
        ),
        "input": {
            "size": net.input_size,
            "bits": fmt.bits,
            "frac": fmt.frac,
            "exponents": list(program.exponents) or [0] * net.input_size,
        },
        "output": {
            "size": net.output_size,
            "bits": net.numbers.state_bits,
            "kind": "class" if net.argmax else "values",
            "frac": fracs,
            "names": names,
            "order": [int(k) for k in program.schedule.output_order],
        },
        "state": {
            "bits": net.state_width,
            "words": sum(size for _, _, _, size in program.schedule.states),
            "vectors": vectors,
        },
        "cycles": {"per_step": steady, "latency": latency},
        "streams": program.streams,
    }
