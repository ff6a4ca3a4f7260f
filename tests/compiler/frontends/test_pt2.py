"""``.pt2`` files: read without torch, nothing unpickled, refused where damaged or untrue."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from gatewright.cli.main import main
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.registry import load
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = nn.Parameter(self.fc.weight.t())  # a view of the same bytes
        self.register_buffer("scale", torch.rand(3), persistent=False)

    def forward(self, x):
        return self.tied(torch.relu(self.fc(self.gru(x * self.scale)[0])))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A file, and what the network gives for its example."""
    torch.manual_seed(1)
    net, x = Net().eval(), torch.randn(2, 5, 3)
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    torch.export.save(torch.export.export(net, (x,)), path)
    with torch.no_grad():
        return path, x.numpy(), net.double()(x.double()).numpy()


def rewritten(path, target, change):
    """Copy the archive; ``change(name, content)`` gives each member's new content, None to drop it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            content = change(member.filename.partition("/")[2], old.read(member))
            if content is not None:
                new.writestr(member.filename, content)
    return target


def edited(path, target, member, edit):
    """Copy the archive with one JSON member edited in place."""

    def change(name, content):
        if name != member:
            return content
        value = json.loads(content)
        edit(value)
        return json.dumps(value)

    return rewritten(path, target, change)


CONFIG = "data/weights/model_weights_config.json"


def test_views_and_buffers_are_read_as_torch_has_them(exported):
    path, x, want = exported
    model = load(path)
    assert np.abs(model.run(x) - want).max() < 1e-12
    assert "one by one by PyTorch" in model.notes[-1]


def test_needs_no_torch_and_says_that_nothing_was_compared(exported):
    path = exported[0]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from gatewright.compiler.frontends.registry import load\n"
        "model = load(sys.argv[1]); print(model.notes[-1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == "warning: not compared with PyTorch: torch is not installed", (
        done.stderr
    )


def test_no_pickle_is_ever_opened(exported, tmp_path, monkeypatch):
    """Pickles of the file are replaced by ones that would run code."""
    path, x, want = exported
    bomb = b"cbuiltins\nexit\n(i\x00tR."
    target = rewritten(path, tmp_path / "bomb.pt2",
                       lambda name, content: bomb if "sample_inputs" in name else content)  # fmt: skip
    monkeypatch.setattr(zipfile.ZipFile, "read", guarded(zipfile.ZipFile.read))
    assert np.abs(load(target).run(x) - want).max() < 1e-12


def guarded(read):
    def only_plain(archive, member, *rest):
        name = getattr(member, "filename", member)
        assert "sample_inputs" not in name
        return read(archive, member, *rest)

    return only_plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta.update(use_pickle=True), "stored as a pickle, which is never opened"),
        (lambda meta: meta["tensor_meta"]["sizes"][0].update(as_int=1 << 30), "holds more than|do not fit"),
        (lambda meta: meta["tensor_meta"]["sizes"][0].update(as_int=-1), "size of zero"),
        (lambda meta: meta["tensor_meta"]["strides"][0].update(as_int=99), "do not fit"),
        (lambda meta: meta["tensor_meta"]["strides"][0].update(as_int=-1), "not supported"),
        (lambda meta: meta["tensor_meta"]["strides"][0].update(as_int=0), "differs|do not fit|expected"),
        (lambda meta: meta["tensor_meta"]["storage_offset"].update(as_int=7), "do not fit"),
        (lambda meta: meta["tensor_meta"].update(layout=1), "sparse"),
        (lambda meta: meta["tensor_meta"].update(dtype=9), "not supported"),
        (lambda meta: meta.update(path_name="nothing"), "damaged"),
        (lambda meta: meta.pop("tensor_meta"), "damaged"),
    ],
)  # fmt: skip
def test_untrue_sizes_are_refused_before_memory_is_taken(exported, tmp_path, change, message):
    target = edited(exported[0], tmp_path / "net.pt2", CONFIG,
                    lambda value: change(value["config"]["gru.weight_hh_l0"]))  # fmt: skip
    if "differs" in message:  # rows that are all the first one: a legal view, other weights
        assert load(target).output_size == 4
        return
    with pytest.raises(InputError, match=message):
        load(target)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: g["graph"]["nodes"][1].update(target="torch.ops.aten.erfinv.default"), "erfinv is not supported"),
        (lambda g: g["graph"]["nodes"][1].update(target="os.system"), "is not supported"),
        (lambda g: g["graph"]["nodes"][1]["inputs"].clear(), "malformed|PyTorch refuses|damaged"),
        (lambda g: g["graph"]["tensor_values"]["x"]["sizes"].append({"as_int": 1 << 40}), "elements are read"),
        (lambda g: g["graph"]["tensor_values"]["x"].update(sizes=[{"as_int": 0}] * 3), "elements are read"),
        (lambda g: g["signature"]["input_specs"].pop(), "forward takes 0 tensors"),
        (lambda g: g["signature"]["output_specs"].clear(), "returns no tensor"),
        (lambda g: g.pop("graph"), "damaged"),
        (lambda g: g["graph"].update(nodes=g["graph"]["nodes"] * 5000), "operators; the limit is"),
    ],
)  # fmt: skip
def test_a_damaged_graph_is_refused_by_name(exported, tmp_path, edit, message):
    target = edited(
        exported[0], tmp_path / "net.pt2", "models/model.json", lambda v: edit(v["graph_module"])
    )
    with pytest.raises(InputError, match=message):
        load(target)


def test_other_archives_are_refused(exported, tmp_path):
    target = tmp_path / "net.pt2"
    target.write_bytes(exported[0].read_bytes()[:-40])
    with pytest.raises(InputError, match=r"holds no graph|damaged"):
        load(target)
    torch.save(nn.GRU(2, 2).state_dict(), target)
    with pytest.raises(InputError, match=r"holds no graph: save it by torch\.export\.save"):
        load(target)
    rewritten(
        exported[0], target, lambda name, content: None if name.startswith("models") else content
    )
    with pytest.raises(InputError, match="holds no graph"):
        load(target)
    deep = "[" * 100_000
    rewritten(
        exported[0], target, lambda name, content: deep if name == "models/model.json" else content
    )
    with pytest.raises(InputError, match="damaged"):
        load(target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_exact(dtype, tmp_path):
    torch.manual_seed(2)
    net = nn.Linear(3, 2).to(dtype)
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 5, 3, dtype=dtype),)), file)
    (layer,) = load(file).layers
    assert np.array_equal(layer.w, net.weight.detach().double().numpy())


def test_every_byte_of_the_graph_may_be_wrong(exported, tmp_path):
    """Bytes are flipped: the file is read, or refused by an InputError; nothing else comes out."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(exported[0]) as archive:
        name = next(n for n in archive.namelist() if n.endswith("models/model.json"))
        content = bytearray(archive.read(name))
    for _ in range(60):
        broken = bytearray(content)
        for at in rng.integers(0, len(broken), 3):
            broken[at] = rng.integers(32, 127)
        target = rewritten(exported[0], tmp_path / "net.pt2",
                           lambda n, c, b=bytes(broken): b if n == "models/model.json" else c)  # fmt: skip
        try:
            load(target, check=False)
        except InputError:
            pass


def test_the_command_line_reads_it(exported, tmp_path, capsys):
    np.save(tmp_path / "x.npy", exported[1])
    program = str(tmp_path / "program")
    assert (
        main(
            ["quantize", str(exported[0]), "--calibration", str(tmp_path / "x.npy"), "-o", program]
        )
        == 0
    )
    assert main(["inspect", str(exported[0]), "--json"]) == 0
    assert '"linear1"' in capsys.readouterr().out


def test_a_buffer_in_memory_is_read_too():
    from gatewright.compiler.frontends.pt2 import read_pt2

    file = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), file)
    assert read_pt2(file, "net").shape == (1, 2)
