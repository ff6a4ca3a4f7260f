"""The door: any source of a model, options by keyword, and our own error for any wrong type."""

import numpy as np
import pytest
import torch
from gatewright.compiler import quantizer
from gatewright.compiler.quantizer import pipeline
from support.boards import gru_program
from support.chains import small

import gatewright as gw

X = np.random.default_rng(3).normal(size=(4, 20, 3))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return torch.nn.GRU(3, 5, batch_first=True)


@pytest.fixture(scope="module")
def program():
    return gru_program()


def test_a_module_and_keywords_are_enough(net):
    short = gw.quantize(net, X, lanes=8, weight_bits=6)
    long = pipeline.quantize(gw.load(net), X, gw.Config(lanes=8, weight_bits=6))
    assert short.digest == long.digest
    assert gw.quantize(net, X, gw.Config(weight_bits=6), lanes=8).digest == long.digest
    assert gw.quantize(net, X, lanes=np.int64(8), weight_bits=np.int8(6)).digest == long.digest
    assert quantizer is not gw.quantize  # the room keeps its name


def test_tensors_and_files_are_data(net, tmp_path):
    long = gw.quantize(net, X)
    assert gw.quantize(net, torch.as_tensor(X).requires_grad_()).digest == long.digest
    lengths = np.array([20, 5, 9, 20])
    padded = np.where(np.arange(20)[None, :, None] < lengths[:, None, None], X, 0)
    np.savez(tmp_path / "x.npz", x=padded, len=lengths)
    wanted = pipeline.quantize(gw.load(net), padded, lengths=lengths)
    assert gw.quantize(net, tmp_path / "x.npz").digest == wanted.digest
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.warns(UserWarning, match="not compared with your model: that the model computes"):
        assert gw.quantize(str(tmp_path / "net.pt"), X).network.macs == long.network.macs


def test_options_of_like_stay_those_of_its_program(net):
    first = gw.quantize(net, X, lanes=4, spare=2)
    second = gw.quantize(net, 0.5 * X, like=first)
    assert second.hardware_digest == first.hardware_digest


WRONG = {
    "an option": (lambda net, p: gw.quantize(net, X, lanez=3), "no option 'lanez'; did you mean 'lanes'"),
    "a far option": (lambda net, p: gw.quantize(net, X, zzz=3), "no option 'zzz'; options are weight_bits"),
    "no model": (lambda net, p: gw.quantize(3, X), "a model is a torch.nn.Module, .* not int"),
    "no data": (lambda net, p: gw.quantize(net, [[1.0], [1, 2]]), "calibration data is list, not an array"),
    "text as data": (lambda net, p: p.run("x.npy"), "x is 'x.npy', not an array"),
    "an object": (lambda net, p: p.run(object()), "x is object, not an array"),
    "a model, Verilog": (lambda net, p: gw.verilog(gw.load(net)), "the program is a Model, not a Program; make"),
    "a chain, Verilog": (lambda net, p: gw.verilog(small()), r"2 passes is a core for each: take one of its \.passes"),
    "a model, files": (lambda net, p: gw.write_verilog(net, "rtl"), "the program is a GRU, not a Program or Chain"),
    "a model, simulated": (lambda net, p: gw.simulate(gw.load(net), X), "the program is a Model"),
    "a path, simulated": (lambda net, p: gw.simulate("program", X), r"a str, .*gw\.load_program\(path\)"),
    "a core": (lambda net, p: gw.Core(None), "the program is a NoneType"),
    "a board": (lambda net, p: gw.System(net, clock_hz=1e6), "the program is a GRU"),
    "a build": (lambda net, p: gw.build(net, "icebreaker", "made"), "the program is a GRU"),
    "a board's name": (lambda net, p: gw.build(p, "icebreakr", "made"), "did you mean 'icebreaker'"),
    "a board's type": (lambda net, p: gw.build(p, 7, "made"), "the board is a int, not a str; boards are"),
    "a profile": (lambda net, p: gw.profile(small()), "a core for each"),
    "a device": (lambda net, p: gw.Device("ttyUSB1", p), "the transport is 'ttyUSB1', not an open line; open it"),
    "a device's type": (lambda net, p: gw.Device(3, p), "the transport is 3, not an open line"),
    "a folder's type": (lambda net, p: gw.write_verilog(p, 3), "the folder is a int, not a str or Path"),
    "an estimate": (lambda net, p: gw.estimate(p, "icebreaker"), "the device is a str, not a Device; take"),
    "figures": (lambda net, p: gw.analyze(gw.load(net)), "the program is a Model"),
    "a search": (lambda net, p: gw.tune(net, X, 1.0), "the model is a GRU, not a Model; read it first"),
    "a folder": (lambda net, p: gw.load_program(4), "folder is a int, not a str or Path"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_types_are_our_own_errors(net, program, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = WRONG[case]
    with pytest.raises(gw.InputError, match=message):
        call(net, program)
    assert not list(tmp_path.iterdir())
