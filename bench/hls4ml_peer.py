"""hls4ml's C emulation of the digits network, beside this project: same weights, same images.

hls4ml is no dependency of this project; it needs g++ and an environment of its own::

    pip install hls4ml
    python bench/hls4ml_peer.py --precision 'ap_fixed<16,6>' --folder hls

Its PyTorch front end gives out the GRU's last state only, so only the last step is compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import hls4ml
import numpy as np
import torch
from gatewright.compiler.config import Config
from gatewright.compiler.frontends import registry as load
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.examples.digits import train as digits


def main() -> None:
    """Print the errors at the last step and the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="ap_fixed<16,6>")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    learn, test = digits.load_data()
    module = digits.train(0)
    with torch.no_grad():
        want = module(torch.from_numpy(test.x)).numpy()

    def report(name: str, got: np.ndarray) -> None:
        off = np.abs(got - want[:, -1])
        right = (got.argmax(1) == test.labels).mean()
        print(f"| {name} | {off.max():.4f} | {off.mean():.5f} | {right:.2%} |", flush=True)

    print(f"outputs reach {np.abs(want[:, -1]).max():.1f}")
    print("| network | error max | error mean | accuracy |\n| --- | --- | --- | --- |")
    report("float", want[:, -1])
    for widths in ((8, 12), (16, 16)):
        config = Config(weight_bits=widths[0], activation_bits=widths[1])
        program = quantize(load(module), learn.x, config)
        report(f"gatewright, weights {widths[0]}, operands {widths[1]}", program.run(test.x)[:, -1])
    options = hls4ml.utils.config_from_pytorch_model(
        module, (8, 8), granularity="name", default_precision=given.precision, backend="Vivado",
        channels_last_conversion="off", transpose_outputs=False,
    )  # fmt: skip
    for layer in options["LayerName"].values():
        layer |= {"Strategy": "Resource", "ReuseFactor": 64}
    peer = hls4ml.converters.convert_from_pytorch_model(
        module, hls_config=options, output_dir=str(given.folder), backend="Vivado", io_type="io_parallel"
    )  # fmt: skip
    peer.compile()
    got = peer.predict(np.ascontiguousarray(test.x))
    report(f"hls4ml {hls4ml.__version__}, {given.precision}", got.reshape(len(test.x), -1)[:, -10:])


if __name__ == "__main__":
    main()
