"""Fuzzers of every file reader: damaged files are read or refused, soon and in little memory.

``python -m support.fuzz_files KIND SECONDS [SEED]`` in ``tests`` prints what came out; kinds are those
of :data:`KINDS`. A batch of files runs in a process of its own, so that a crash is a finding too.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gatewright.compiler.errors import GatewrightError

from .mutations import bytes_of, text_of, zip_of

BATCH = 40
SLOW = 10  # CPU seconds: on a busy machine an import alone takes long
LARGE = 1 << 20  # kB above the start


# -- seeds --------------------------------------------------------------------------


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "gru.weight_ih_l0": (12, 3), "gru.weight_hh_l0": (12, 4), "gru.bias_ih_l0": (12,),
        "gru.bias_hh_l0": (12,), "fc.weight": (2, 4), "fc.bias": (2,),
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def torch_files() -> list[bytes]:
    import torch

    values = {name: torch.tensor(array) for name, array in tensors().items()}
    made = []
    for whole in (values, {"epoch": 3, "state_dict": values, "more": [1, (2.0, "x")]}):
        for new in (True, False):
            out = io.BytesIO()
            torch.save(whole, out, _use_new_zipfile_serialization=new)
            made.append(out.getvalue())
    return made


def safetensors_files() -> list[bytes]:
    from safetensors.numpy import save

    return [save(tensors()), save({k: v.astype("f2") for k, v in tensors().items()})]


def npz_files() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, **tensors())
        made.append(out.getvalue())
    return made


def onnx_files() -> list[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    rng, made = np.random.default_rng(0), []
    for fold in (False, True):
        arrays = {
            "W": rng.normal(size=(1, 12, 3)), "R": rng.normal(size=(1, 12, 4)),
            "B": rng.normal(size=(1, 24)), "M": rng.normal(size=(4, 2)),
        }  # fmt: skip
        inits = [numpy_helper.from_array(v.astype("f4"), k) for k, v in arrays.items()]
        inits += [
            numpy_helper.from_array(np.array(v), k)
            for k, v in {"one": [1], "shape": [2, 3], "big": [4, 2, 3]}.items()
        ]
        nodes = [
            helper.make_node("GRU", ["x", "W", "R", "B"], ["y", ""], hidden_size=4, name="gru"),
            helper.make_node("Squeeze", ["y", "one"], ["s"]),
            helper.make_node("MatMul", ["s", "M"], ["out"]),
        ]
        if fold:
            nodes[2:] = [
                helper.make_node("ConstantOfShape", ["shape"], ["c"]),
                helper.make_node("Expand", ["c", "big"], ["x4"]),
                helper.make_node("Concat", ["c", "c"], ["e"], axis=0),
                helper.make_node("Reshape", ["e", "shape2"], ["r"]),
                helper.make_node("Gather", ["r", "one"], ["g"], axis=0),
                helper.make_node("Mul", ["g", "g"], ["m"]),
                helper.make_node("MatMul", ["s", "M"], ["out"]),
            ]  # fmt: skip
            inits.append(numpy_helper.from_array(np.array([3, 4]), "shape2"))
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", 1, 3])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["t", 1, 2])], inits,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.append(model.SerializeToString())
    return made


def h5_files() -> list[bytes]:
    import h5py

    config = {
        "class_name": "Sequential",
        "config": {"layers": [
            {"class_name": "GRU", "config": {
                "name": "gru", "units": 4, "activation": "tanh", "reset_after": True,
                "recurrent_activation": "sigmoid", "use_bias": True, "return_sequences": True,
                "batch_input_shape": [None, None, 3]}},
            {"class_name": "Dense", "config": {
                "name": "dense", "units": 2, "activation": "linear", "use_bias": True}},
        ]},
    }  # fmt: skip
    rng, made = np.random.default_rng(0), []
    shapes = {"gru": [(3, 12), (4, 12), (2, 12)], "dense": [(4, 2), (2,)]}
    for packed in (False, True):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.15.0"
            for name, sizes in shapes.items():
                group = file.create_group(f"model_weights/{name}")
                group.attrs["weight_names"] = [f"{name}/w{k}" for k in range(len(sizes))]
                for k, size in enumerate(sizes):
                    options = {"chunks": size, "compression": "gzip"} if packed else {}
                    group.create_dataset(
                        f"{name}/w{k}", data=rng.normal(size=size).astype("f4"), **options
                    )
        made.append(out.getvalue())
    return made


def json_files() -> list[bytes]:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).round(3).tolist()

    layers = [
        {"type": "gru", "activation": "", "shape": [None, None, 4],
         "weights": [draw(3, 12), draw(4, 12), draw(2, 12)]},
        {"type": "dense", "activation": "tanh", "shape": [None, None, 2],
         "weights": [draw(4, 2), draw(2)]},
    ]  # fmt: skip
    return [json.dumps({"in_shape": [None, None, 3], "layers": layers}).encode()]


def x_files() -> list[bytes]:
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    made = []
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, x=x, len=np.array([5, 3, 1]), y=np.array([0, 1, 1]))
        made.append(out.getvalue())
    return made


# -- readers ------------------------------------------------------------------------


def read_model(path: Path) -> None:
    from gatewright.compiler.frontends.registry import load

    load(path, check=False)


def read_data(path: Path) -> None:
    from gatewright.compiler.files.recording import read_x

    read_x(path, 3)


def program_case(rng: random.Random, folder: Path) -> Callable[[], None]:
    """Change a program's folder; half of them as if whoever did it had made the digest anew."""
    from gatewright.compiler.program import chain, program

    source = PROGRAMS[rng.randrange(len(PROGRAMS))]
    for name, content in source.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    name = rng.choice([n for n in source if n.endswith(("program.json", "weights.npz"))])
    change = text_of if name.endswith(".json") else zip_of
    (folder / name).write_bytes(change(rng, source[name]))
    passes = rng.random() < 0.5
    own = (program.check_digest, chain.check_digest)

    def read() -> None:
        if passes:
            program.check_digest = chain.check_digest = lambda *_: None
        try:
            chain.load_program(folder)
        finally:
            program.check_digest, chain.check_digest = own

    return read


PROGRAMS: list[dict[str, bytes]] = []


def programs() -> list[bytes]:
    """Fill :data:`PROGRAMS`: one of a pass, one of two."""
    from gatewright.compiler.config import Config
    from gatewright.compiler.ir.model import Linear, Model
    from gatewright.compiler.quantizer.pipeline import quantize

    from .randoms import recurrent

    rng = np.random.default_rng(0)
    gru = recurrent(rng, "gru", "gru", ("x",), 3, 4)
    lstm = recurrent(rng, "b", "lstm", ("x",), 3, 4)
    object.__setattr__(lstm, "reverse", True)
    head = Linear("head", ("gru",), rng.normal(size=(2, 4)))
    both = Linear("head", ("gru", "b"), rng.normal(size=(2, 8)))
    for layers in ((gru, head), (gru, lstm, both)):
        made = quantize(Model(3, layers), rng.normal(size=(2, 20, 3)), Config(lanes=4))
        with tempfile.TemporaryDirectory() as name:
            made.save(Path(name) / "p")
            files = [f for f in (Path(name) / "p").rglob("*") if f.is_file()]
            PROGRAMS.append(
                {f.relative_to(Path(name) / "p").as_posix(): f.read_bytes() for f in files}
            )
    return [b""]


KINDS: dict[str, tuple[str, Callable[[], list[bytes]], Any, Callable[[Path], None]]] = {
    "pt": (".pt", torch_files, None, read_model),
    "safetensors": (".safetensors", safetensors_files, bytes_of, read_model),
    "npz": (".npz", npz_files, zip_of, read_model),
    "onnx": (".onnx", onnx_files, bytes_of, read_model),
    "h5": (".h5", h5_files, bytes_of, read_model),
    "json": (".json", json_files, text_of, read_model),
    "program": ("", programs, None, read_model),
    "x": (".npz", x_files, zip_of, read_data),
}
"""Ending, seeds, mutation and reader of each kind."""


def one(kind: str, seeds: list[bytes], seed: int, folder: Path) -> str:
    """Make and read one file; return ``read``, ``refused`` or what else was raised."""
    rng = random.Random(f"{kind} {seed}")
    ending, _, change, reader = KINDS[kind]
    if kind == "program":
        read = program_case(rng, folder / str(seed))
    else:
        data = rng.choice(seeds)
        change = change or (zip_of if data[:2] == b"PK" else bytes_of)
        path = folder / f"{seed}{ending}"
        path.write_bytes(change(rng, data))

        def read() -> None:
            reader(path)

    try:
        read()
    except GatewrightError:
        return "refused"
    except TimeoutError:
        return f"slow seed {seed}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"internal seed {seed}: {type(error).__name__}: {str(error)[:80]} at {where.filename.rpartition('/')[2]}:{where.lineno}"
    return "read"


def batch(kind: str, seeds: list[bytes], first: int, count: int, out: int) -> None:
    """Run some files and write a line for each; a process of its own."""

    def stop(*_: object) -> None:
        raise TimeoutError

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (12 << 30, 12 << 30))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, first + count):
            os.write(out, f"begin {seed}\n".encode())
            signal.setitimer(signal.ITIMER_PROF, SLOW)
            result = one(kind, seeds, seed, Path(name))
            signal.setitimer(signal.ITIMER_PROF, 0)
            now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if now - start > LARGE:
                result, start = f"large seed {seed}: {(now - start) >> 10} MB, {result}", now
            os.write(out, f"{result}\n".encode())


def fuzz(kind: str, seconds: float, seed: int = 0, limit: int = 1 << 40) -> Counter[str]:
    """Run damaged files of a kind for some time.

    Returns
    -------
    Counter
        ``tried``, ``read``, ``refused``, and each finding: ``internal``, ``slow``, ``large``,
        ``crash``, with the seed that repeats it.
    """
    seeds = KINDS[kind][1]()
    found: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end and found["tried"] < limit:
        count = min(BATCH, limit - found["tried"])
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                batch(kind, seeds, seed, count, writer)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            last = ""
            for line in lines:
                if line.startswith("begin"):
                    last = line.strip()
                else:
                    last = ""
                    found["tried"] += 1
                    found[line.strip()] += 1
        _, status = os.waitpid(child, 0)
        if status:
            found["tried"] += 1
            found[f"crash {last} signal {status & 127}"] += 1
        seed += count
    return found


def findings(found: Counter[str]) -> list[str]:
    """Return what must not be."""
    return [
        f"{name} (x{n})" for name, n in found.items() if name not in ("tried", "read", "refused")
    ]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kind, seconds, *rest = sys.argv[1:]
    result = fuzz(kind, float(seconds), int(rest[0]) if rest else 0)
    print(kind, {k: result[k] for k in ("tried", "read", "refused")}, flush=True)
    print("\n".join(findings(result)))
    sys.exit(bool(findings(result)))
