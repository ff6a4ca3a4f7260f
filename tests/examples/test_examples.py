"""The examples: their data, their training, and the figures that their README states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatewright.compiler.config import Config
from gatewright.compiler.files.recording import read_x
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.examples.digits import train as digits
from gatewright.examples.japanese_vowels import train as vowels
from gatewright.examples.opendpd import amplifier
from gatewright.sim import simulate


def test_vowels_are_the_published_split():
    train, test = vowels.load_data()
    assert train.x.shape == (270, 26, 12) and test.x.shape == (370, 29, 12)
    assert np.bincount(train.labels).tolist() == [30] * 9
    assert np.bincount(test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    for x, lengths, labels in (train, test):
        assert lengths.shape == labels.shape == x.shape[:1]
        assert lengths.min() == 7 and lengths.max() == x.shape[1]
        padding = np.arange(x.shape[1]) >= lengths[:, None]
        assert not x[padding].any()
        assert x[np.arange(len(x)), lengths - 1].any(axis=1).all()


def test_accuracy_reads_the_last_valid_step():
    outputs = np.zeros((3, 4, 9))
    outputs[0, 1, 5] = outputs[1, 3, 2] = outputs[2, 0, 7] = 1
    outputs[0, 3, 8] = outputs[2, 1, 8] = 2  # padding: must not count
    assert vowels.accuracy(outputs, [2, 4, 1], [5, 2, 7]) == 1
    assert vowels.accuracy(torch.tensor(outputs), [2, 4, 1], [5, 2, 8]) == pytest.approx(2 / 3)


def test_shipped_network():
    _, test = vowels.load_data()
    module = vowels.pretrained()
    assert sum(p.numel() for p in module.parameters()) == 4713
    with torch.no_grad():
        outputs = module(torch.from_numpy(test.x))
    assert outputs.shape == (370, 29, 9)
    assert vowels.accuracy(outputs, test.lengths, test.labels) == 360 / 370


def test_training_reaches_its_accuracy():
    module, metrics = vowels.train(seed=0)
    assert metrics["test_accuracy"] >= 0.965
    assert metrics["train_accuracy"] >= 0.99
    assert not module.training
    # The shipped network comes from this recipe. Equal here; 0.27 apart if every first weight
    # is off by 1e-7, as on another processor; 0.66 apart with an earlier recipe.
    ours, shipped = (
        torch.cat([p.detach().flatten() for p in network.parameters()])
        for network in (module, vowels.pretrained())
    )
    assert (ours - shipped).norm() < 0.5 * shipped.norm()


@pytest.mark.full
def test_training_over_six_seeds():
    accuracies = [vowels.train(seed)[1]["test_accuracy"] for seed in range(6)]
    assert np.mean(accuracies) >= 0.975
    assert min(accuracies) >= 0.97


def test_training_repeats_exactly_and_leaves_torch_as_it_was():
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    lines: list[str] = []
    first, again, other = (vowels.train(seed, 10, lines.append)[0] for seed in (3, 3, 4))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert len(lines) == 3 and lines[0] == lines[1] and lines[0].startswith("epoch 10 of 10: ")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), random)


def test_vowel_files_are_what_the_commands_read(tmp_path, capsys):
    vowels.main(["-o", str(tmp_path), "--epochs", "1"])
    assert "test accuracy" in capsys.readouterr().out
    train, test = vowels.load_data()
    for name, split in (("calibration", train), ("test", test)):
        got = read_x(tmp_path / f"{name}.npz", 12)
        for ours, read in zip(split, (got.x, got.lengths, got.labels), strict=True):
            np.testing.assert_array_equal(ours, read)
    outputs = [load(tmp_path / f"model.{kind}").run(test.x[:3]) for kind in ("pt", "safetensors")]
    np.testing.assert_array_equal(*outputs)
    assert outputs[0].shape == (3, 29, 9)


@pytest.fixture(scope="module")
def samples():
    return amplifier.load_recording()


@pytest.fixture(scope="module")
def core_outputs(samples):
    return amplifier.core_model().run(amplifier.features(samples.test)[:20000])


def test_amplifier_error_is_the_published_one(samples, core_outputs):
    # The published -39.7183 dB is over 66,270 samples, of which 20,000 are here.
    prediction = core_outputs + amplifier.skip(samples.test)[:20000]
    assert amplifier.nmse_db(prediction, samples.target) == pytest.approx(-39.6304, abs=1e-3)
    settled = slice(amplifier.SETTLING, None)
    error = amplifier.nmse_db(prediction[settled], samples.target[settled])
    assert error == pytest.approx(-39.6626, abs=1e-3)
    assert amplifier.nmse_db(core_outputs, samples.target) == pytest.approx(-25.18, abs=0.01)


def test_amplifier_equals_pytorch(samples):
    iq = torch.from_numpy(samples.test[:300])
    with np.load(amplifier.FOLDER / "apa-200mhz-b-pa-v6.npz") as file:
        gru_in, gru_state, head, first, second = (
            torch.from_numpy(file[f"backbone.{key}"]).double()
            for key in (
                "rnn.weight_ih_l0", "rnn.weight_hh_l0", "fc_out.weight",
                "tcn.0.weight", "tcn.2.weight",
            )
        )  # fmt: skip
    gru = torch.nn.GRU(6, 37, bias=False, batch_first=True, dtype=torch.float64)
    gru.load_state_dict({"weight_ih_l0": gru_in, "weight_hh_l0": gru_state})
    fn = torch.nn.functional
    around = fn.hardswish(fn.conv1d(iq.T, first, padding=16, dilation=16))
    around = fn.hardswish(fn.conv1d(around, second)).T
    np.testing.assert_allclose(amplifier.skip(iq.numpy()), around, rtol=0, atol=1e-15)
    x = amplifier.features(iq.numpy())
    with torch.no_grad():
        expected = gru(torch.from_numpy(x))[0] @ head.T
    np.testing.assert_allclose(amplifier.core_model().run(x), expected, rtol=0, atol=1e-13)


def test_amplifier_features():
    x = amplifier.features([[3, 4], [0, -2], [1, 0]])
    assert x.tolist() == [[3, 4, 5, 125, 0, -2], [0, -2, 2, 8, 1, 0], [1, 0, 1, 1, 3, 4]]


def test_nmse():
    assert amplifier.nmse_db([[1.1, 0], [0, 2.2]], [[1, 0], [0, 2]]) == pytest.approx(-20)


def test_amplifier_files_and_score(tmp_path, capsys, samples, core_outputs):
    amplifier.main(["-o", str(tmp_path)])
    assert read_x(tmp_path / "calibration.npy", 6).x.shape == (8000, 6)
    x = read_x(tmp_path / "test.npy", 6).x
    np.testing.assert_array_equal(x, amplifier.features(samples.test)[:20000])
    model = load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(model.run(x[:100]), core_outputs[:100], rtol=0, atol=1e-12)
    np.save(tmp_path / "y.npy", core_outputs)
    amplifier.main(["--score", str(tmp_path / "y.npy")])
    assert capsys.readouterr().out == (
        "NMSE -39.63 dB over 20000 samples, -39.66 dB without the first 100\n"
    )
    np.save(tmp_path / "y.npy", core_outputs[1:])
    with pytest.raises(SystemExit):
        amplifier.main(["--score", str(tmp_path / "y.npy")])
    assert "has shape (19999, 2), not (20000, 2)" in capsys.readouterr().err


@pytest.mark.full
def test_every_test_utterance_in_verilator():
    calibration, test = vowels.load_data()
    model = load(vowels.pretrained())
    p = quantize(model, calibration.x, Config(lanes=24), lengths=calibration.lengths)
    done = simulate(p, test.x, lengths=test.lengths)
    assert done.steps == 5687
    assert done.bit_exact and done.cycle_exact, done.mismatch
    final = done.outputs[np.arange(370), test.lengths - 1]
    assert (final.argmax(1) == test.labels).mean() >= 0.97


def test_digits_are_the_first_and_the_second_half():
    train, test = digits.load_data()
    assert train.x.shape == (898, 8, 8) and test.x.shape == (899, 8, 8)
    assert train.x.min() == 0 and train.x.max() == 1
    assert np.bincount(np.concatenate([train.labels, test.labels])).min() > 170
    outputs = np.zeros((2, 8, 10))
    outputs[0, 7, 3] = outputs[1, 7, 4] = 1
    outputs[:, 6, 9] = 2  # not the last row: must not count
    assert digits.accuracy(outputs, [3, 5]) == 0.5


@pytest.mark.full
def test_digits_are_trained_in_fixed_point(tmp_path, monkeypatch, capsys):
    test = digits.load_data()[1]
    short = digits.train
    monkeypatch.setattr(digits, "train", lambda seed: short(seed, epochs=3))
    digits.main(["-o", str(tmp_path), "--weight-bits", "3", "--epochs", "2"])
    program = Program.load(tmp_path / "program")
    found = digits.accuracy(program.run(test.x), test.labels)
    print(capsys.readouterr().out, found)
    assert found > 0.6
    assert program.config.weight_bits == 3
