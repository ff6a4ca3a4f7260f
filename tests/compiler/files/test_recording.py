"""Data files: what is read, what is refused, and that nothing is written by half."""

import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.files import recording as data
from gatewright.compiler.files.recording import read_x, write_y
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

X2 = np.random.default_rng(1).normal(size=(5, 3))
X3 = np.random.default_rng(2).normal(size=(4, 5, 3))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(descr: str, shape: str) -> bytes:
    """Make an .npy header that announces anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("x", [X2, X3], ids=["steps", "sequences"])
@pytest.mark.parametrize(
    "dtype", ["<f8", ">f8", "f4", "f2", "longdouble", "i1", "u2", ">i4", "i8", "u8"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_read_npy(tmp_path, x, dtype, order):
    stored = np.asarray(np.abs(100 * x), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", stored)
    got = read_x(tmp_path / "x.npy", 3)
    assert got.x.dtype == np.float64
    assert got.x.flags.c_contiguous
    np.testing.assert_array_equal(got.x, stored.astype(float))
    assert got.lengths is None and got.labels is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_npz_with_companions(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, x=X3, len=np.array([5, 1, 3, 2], "i2"), y=np.array([0, 8, 1, 1], "u1"), z=object())
    got = read_x(path, 3)
    np.testing.assert_array_equal(got.x, X3)
    assert got.lengths is not None and got.lengths.tolist() == [5, 1, 3, 2]
    assert got.labels is not None and got.labels.tolist() == [0, 8, 1, 1]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\r\n3,4", [[1, 2], [3, 4]]),
        ("\ufeffI, Q\n\n 1 ,2e-1\n\n\n-3,+4.\n\n", [[1, 0.2], [-3, 4]]),
        ("time\n5\n", [[5]]),
    ],
)
def test_read_csv(tmp_path, text, rows):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
    np.testing.assert_array_equal(read_x(tmp_path / "x.csv").x, np.array(rows, float))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3,x y\n", "line 4: 'x y' is not a number"),
        ("a,2\n1,2\n", "line 1: 'a' is not a number"),
        ("a,b\nc,d\n", "line 2: 'c' is not a number"),
        ("1,2\n3,4,5\n", "line 2: 3 fields, the lines before have 2"),
        ("1,2\n3\n", "line 2: 1 fields"),
        ("1;2\n3;4\n5;6\n", "line 2: '3;4' is not a number; fields are separated by commas"),
        ("1,2,\n", "line 1: '' is not a number"),
        ("1_0\n2\n3_0\n", "line 3: '3_0' is not a number"),
        ("1,2\n3,nan\n", r"holds nan at index \[1, 1\]"),
        ("1,2\n1e999,3\n", r"holds inf at index \[1, 0\]"),
        ("a,b\n", r"holds no values: its shape is \(0, 0\)"),
        ("\n\n", "holds no values"),
    ],
)
def test_csv_junk_names_the_line(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_x(tmp_path / "x.csv")


def test_csv_that_is_not_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"1,2\n\xff\xfe\x00")
    with pytest.raises(InputError, match="not text in UTF-8"):
        read_x(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(7), r"has shape \(7,\), expected .* x\[:, None\]"),
        (np.zeros(()), r"has shape \(\), expected"),
        (np.zeros((1, 2, 3, 4)), r"has shape \(1, 2, 3, 4\), expected"),
        (np.zeros((0, 3)), r"holds no values: its shape is \(0, 3\)"),
        (np.zeros((2, 5, 0)), "holds no values"),
        (np.zeros((5, 4)), r"has 4 features a step \(shape \(5, 4\)\), the network takes 3$"),
        (np.zeros((3, 5)), "takes 3; are the last two axes swapped"),
        (np.zeros((5, 3), complex), "dtype complex128; only real"),
        (np.zeros((5, 3), bool), "dtype bool; only real"),
        (np.full((5, 3), "1"), "dtype <U1; only real"),
        (np.zeros((5, 3), "M8[s]"), r"dtype datetime64\[s\]; only real"),
        (np.full((5, 3), None), "dtype object; only real"),
        (np.zeros((5, 3), "f4,f4"), "only real"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_wrong_arrays_are_refused(tmp_path, array, message, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, x=array)
    with pytest.raises(InputError, match=message):
        read_x(path, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_value_that_is_not_finite(tmp_path, value):
    x = X3.copy()
    x[2, 1, 0] = x[3, 0, 0] = value
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=rf"holds {value} at index \[2, 1, 0\]"):
        read_x(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("len", np.array([5, 0, 3, 2]), r"len\[1\] is 0; lengths are 1 to 5"),
        ("len", np.array([5, 1, 3, 6]), r"len\[3\] is 6; lengths are 1 to 5"),
        ("len", np.array([5.0, 1, 3, 6]), "float64.* must be one integer for each sequence"),
        ("len", np.array([5, 1, 3]), r"shape \(3,\)\) must be one integer"),
        ("y", np.array([[1], [1], [1], [1]]), "must be one integer"),
        ("y", np.array([1, -1, 1, 1]), r"y\[1\] is -1; labels are 0 to"),
        ("y", np.array([1, 1, 1, 2**64 - 1], "u8"), r"y\[3\] is 18446744073709551615; labels"),
        ("y", np.array([None] * 4), "y has dtype object"),
    ],
)
def test_wrong_companions_are_refused(tmp_path, key, value, message):
    np.savez(tmp_path / "x.npz", x=X3, **{key: value})
    with pytest.raises(InputError, match=message):
        read_x(tmp_path / "x.npz")


def test_labels_may_be_text(tmp_path):
    np.savez(tmp_path / "x.npz", x=X3, y=np.array(["up", "down", "up", "left"]))
    data = read_x(tmp_path / "x.npz")
    assert (data.labels == [2, 0, 2, 1]).all()
    assert data.classes == ("down", "left", "up")
    for name in ("x", "len"):
        arrays = {"x": X3} | {name: np.array(["1", "2", "3", "4"])}
        np.savez(tmp_path / "text.npz", **arrays)
        with pytest.raises(InputError, match=f"{name} has dtype <U1"):
            read_x(tmp_path / "text.npz")


def test_companions_need_sequences(tmp_path):
    np.savez(tmp_path / "x.npz", x=X2, len=np.arange(5))
    with pytest.raises(InputError, match=r"len .* x \(shape \(5, 3\)\)"):
        read_x(tmp_path / "x.npz")


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*No such file"):
        read_x(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"end in .npy, .npz or .csv, not '.txt'"):
        read_x(tmp_path / "x.txt")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_x(tmp_path / "folder.npy")
    np.savez(tmp_path / "a.npz", a=X2, b=X2)
    with pytest.raises(InputError, match=r"no key 'x', only \['a', 'b'\]"):
        read_x(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "l.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy(X2))
    with pytest.raises(InputError, match="compressed in a way"):
        read_x(tmp_path / "l.npz")
    (tmp_path / "p.npy").write_bytes(b"\x80\x04N.")  # a pickle, which np.load would run
    with pytest.raises(InputError, match="no NumPy array"):
        read_x(tmp_path / "p.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_empty_file(tmp_path, suffix):
    (tmp_path / f"x{suffix}").touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        read_x(tmp_path / f"x{suffix}")


def test_unreadable_file(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X2)

    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*Permission denied"):
        read_x(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("'<f8'", "(134217729, 1)"), r"134217729 values; the limit is 134217728"),
        (header("'<f8'", "(9999999999, 9999999999, 9)"), "the limit is 134217728"),
        (header("'<f8'", "(-1, -3)"), "announces shape"),
        (header("'<f8'", "(5, 3)"), "takes 120 bytes, the file has only 0"),
        (header("'|V0'", "(5, 3)"), "only real floats"),
        (header("'<f3'", "(5, 3)"), "no NumPy array or is damaged"),
        (header("'<f8'", "(5, 3"), "no NumPy array or is damaged"),
        (header("__import__('os')", "(5, 3)"), "no NumPy array or is damaged"),
        (npy(X2)[:-1], "takes 120 bytes, the file has only 119"),
        (npy(X2) + b"\0", "takes 120 bytes, the file has more"),
        (npy(X2)[:40], "no NumPy array or is damaged"),
        (npy(X2)[:3], "no NumPy array or is damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_arrays_are_refused_before_allocation(tmp_path, content, message, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    with pytest.raises(InputError, match=message):
        read_x(path)


def test_csv_limits(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n5,6\n")
    monkeypatch.setattr(data, "VALUES_LIMIT", 4)
    with pytest.raises(InputError, match="line 3: more than 4 values"):
        read_x(tmp_path / "x.csv")
    monkeypatch.setattr(data, "CSV_BYTES_LIMIT", 11)
    with pytest.raises(InputError, match=r"has 12 bytes; the limit of a .csv is 11"):
        read_x(tmp_path / "x.csv")


def test_npz_with_a_flipped_bit(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=X2)
    content = bytearray(path.read_bytes())
    content[content.index(X2.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.*CRC"):
        read_x(path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_is_an_input_error_or_readable(tmp_path, data):
    path = tmp_path / f"x{data.draw(st.sampled_from(['.npy', '.npz', '.csv']))}"
    if path.suffix == ".npy":
        np.save(path, X2)
    elif path.suffix == ".npz":
        np.savez_compressed(path, x=X3, len=np.full(4, 5))
    else:
        write_y(path, X2)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert np.isfinite(read_x(path).x).all()
    except InputError:
        pass


@pytest.mark.parametrize("name", ["y.npy", "y.npz", "y.csv"])
def test_write_y_round_trip(tmp_path, name):
    write_y(tmp_path / name, np.zeros((1, 1)))
    write_y(tmp_path / name, X2)  # replaces
    if name.endswith(".npz"):
        with np.load(tmp_path / name) as archive:
            got = archive["y"]
    else:
        got = read_x(tmp_path / name).x
    np.testing.assert_array_equal(got, X2)
    assert left_in(tmp_path) == [name]


def test_write_y_refuses(tmp_path):
    with pytest.raises(InputError, match=r"not shape \(4, 5, 3\): use .npy"):
        write_y(tmp_path / "y.csv", X3)
    with pytest.raises(InputError, match=r"not '.wav'"):
        write_y(tmp_path / "y.wav", X2)
    (tmp_path / "y.npy").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        write_y(tmp_path / "y.npy", X2)
    with pytest.raises(InputError, match="No such file or directory; nothing was written"):
        write_y(tmp_path / "missing" / "y.npy", X2)
    assert left_in(tmp_path) == ["y.npy"]


def test_full_disk_in_numpy(tmp_path, monkeypatch):
    def full_disk(file, *_args, **_kwargs):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        write_y(tmp_path / "y.npy", X2)
    assert left_in(tmp_path) == []
