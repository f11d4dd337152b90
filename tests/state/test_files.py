"""State in files: adamcompat's own form and MindSpore's two, without any framework."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamcompat.kernel import running_product
from adamcompat.state import AdamState, StateError
from adamcompat.state.files import ckpt_file, convert, open_document, read, safetensors_file, stored, write

pytest.importorskip("safetensors", reason="needs safetensors: pip install 'adamcompat[files]'")

ROOT = Path(__file__).resolve().parents[2]
SHAPES: dict[str, tuple[int, ...]] = {"conv.weight": (4, 2, 3, 3), "fc.weight": (5, 4), "fc.bias": (5,), "scale": ()}
FORMS = {"state.safetensors": None, "ms.safetensors": "mindspore", "ms.ckpt": None}


def made(seed: int = 0, *, amsgrad: bool = False, step: int = 7, **options: Any) -> AdamState:
    rng = np.random.default_rng(seed)

    def tensors() -> dict[str, Any]:
        return {name: np.asarray(rng.standard_normal(shape), np.float32) for name, shape in SHAPES.items()}

    return AdamState(
        step=step,
        first_moment=tensors(),
        second_moment={name: value**2 for name, value in tensors().items()},
        maximum_second_moment={name: value**2 for name, value in tensors().items()} if amsgrad else None,
        parameters=tensors(),
        hyperparameters={"beta1": 0.9, "beta2": 0.999, "learning_rate": 0.01},
        convention="mindspore",
        **options,
    )


def same(a: AdamState, b: AdamState, *, order: bool = True) -> bool:
    assert a.tensors.keys() == b.tensors.keys()
    assert (a.names if order else sorted(a.names)) == (b.names if order else sorted(b.names))
    return a.step == b.step and all(
        np.array_equal(np.asarray(x[name]), np.asarray(b.tensors[role][name]))
        and np.asarray(x[name]).dtype == b.tensors[role][name].dtype
        for role, x in a.tensors.items()
        for name in a.names
    )


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("amsgrad", [False, True])
def test_what_is_written_is_read(tmp_path: Path, name: str, amsgrad: bool) -> None:
    state = made(amsgrad=amsgrad)
    write(tmp_path / name, state, form=FORMS[name])
    found = read(tmp_path / name)
    assert same(found, state, order=name != "ms.safetensors")
    assert {key: found.hyperparameters[key] for key in ("beta1", "beta2")} == {"beta1": 0.9, "beta2": 0.999}


def test_the_neutral_form_keeps_everything(tmp_path: Path) -> None:
    base = made()
    state = made(
        accumulation_steps=4,
        accumulated_calls=3,
        accumulated_gradient=base.first_moment,
        average=base.first_moment,
        dialect="keras3",
        numerics="tf26",
    )
    write(tmp_path / "x.safetensors", state)
    found = read(tmp_path / "x.safetensors")
    assert same(found, state)
    for name in ("accumulation_steps", "accumulated_calls", "hyperparameters", "dialect", "numerics", "convention"):
        assert getattr(found, name) == getattr(state, name)


def test_the_neutral_form_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    state = made()
    write(tmp_path / "x.safetensors", state)
    found = load_file(tmp_path / "x.safetensors")
    assert np.array_equal(found["first_moment/fc.weight"], np.asarray(state.first_moment["fc.weight"]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_dtypes_and_layouts_in_memory(tmp_path: Path, dtype: str, name: str) -> None:
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(3)
    wide = rng.standard_normal((700, 9, 1100)).astype(dtype)
    moments = {"transposed": wide.transpose(2, 0, 1), "strided": wide[::2, ::3], "empty": wide[:0]}
    state = AdamState(step=3, first_moment=moments, second_moment=moments, hyperparameters={"beta1": 0.5, "beta2": 0.9})
    write(tmp_path / name, state, form=FORMS[name])
    assert same(read(tmp_path / name), state, order=False)


@pytest.mark.parametrize(
    ("shape", "permutation"),
    [((40, 300), (1, 0)), ((3, 3, 20, 40), (3, 2, 0, 1)), ((20, 40, 3, 3), (2, 3, 1, 0)), ((900, 2), (1, 0))],
)
def test_a_transposed_tensor_in_blocks(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], permutation: tuple[int, ...]
) -> None:
    monkeypatch.setattr(stored, "BLOCK", 256)
    monkeypatch.setattr(stored, "_ROWS", 8)
    monkeypatch.setattr(stored, "_TILE", 100)
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape).transpose(permutation)
    blocks = [*stored.blocks_of(array)]
    assert np.array_equal(np.concatenate(blocks), array.reshape(-1))
    assert len(blocks) > 1
    assert max(block.nbytes for block in blocks) <= 8 * 256


@pytest.mark.parametrize("name", FORMS)
def test_a_disk_that_refuses_while_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Linux tells once that data were lost: to the fsync in between, not to the one at the end."""
    write(tmp_path / name, made(1), form=FORMS[name])
    genuine, failed = os.fsync, threading.Event()

    def fsync(handle: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            failed.set()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        genuine(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("adamcompat.files._FLUSHED_EVERY", 0.0)
    with pytest.raises(StateError, match=f"{name}: cannot be written: {os.strerror(errno.EIO)}"):
        write(tmp_path / name, made(2), form=FORMS[name], progress=lambda count: assert_soon(failed))
    assert same(read(tmp_path / name), made(1), order=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def assert_soon(event: threading.Event) -> None:
    assert event.wait(10)


def test_betas_are_told_by_the_products_only_where_they_are_met(tmp_path: Path) -> None:
    for step, beta in ((1, 0.5), (7, 0.85), (300, 0.9), (9, 0.123456)):
        state = made(step=step)
        object.__setattr__(state, "hyperparameters", {"beta1": beta, "beta2": 0.999})
        write(tmp_path / "x.ckpt", state)
        assert read(tmp_path / "x.ckpt").hyperparameters["beta1"] == beta
    state = made(step=3000)
    write(tmp_path / "x.ckpt", state)
    assert 0.0 < running_product(0.9, 3000, np.float32) < np.finfo(np.float32).tiny
    assert "beta1" not in read(tmp_path / "x.ckpt").hyperparameters
    with pytest.raises(StateError, match="beta1 is not known"):
        write(tmp_path / "y.ckpt", read(tmp_path / "x.ckpt"))
    write(tmp_path / "y.ckpt", read(tmp_path / "x.ckpt", beta1=0.9))
    assert same(read(tmp_path / "y.ckpt"), state)


def test_like_gives_names_layouts_and_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((4, 5)).astype(np.float32)
    moments = {"net/fc/kernel": kernel, "net/fc/bias": np.ones(5, np.float32)}
    source = AdamState(
        step=11,
        first_moment=moments,
        second_moment=moments,
        parameters=moments,
        hyperparameters={"beta1": 0.9, "beta2": 0.999},
        convention="tensorflow",
        dialect="keras3",
    )
    zeros = {"fc.weight": np.zeros((5, 4), np.float32), "fc.bias": np.zeros(5, np.float32)}
    fresh = AdamState(
        step=0,
        first_moment=zeros,
        second_moment=zeros,
        parameters=zeros,
        hyperparameters={"beta1": 0.9, "beta2": 0.999},
    )
    write(tmp_path / "source.safetensors", source)
    write(tmp_path / "fresh.ckpt", fresh)
    # What else a program keeps: written by hand as one more tensor.
    from adamcompat.state.files import ckpt_file

    other: dict[str, Any] = {**ckpt_file.read(tmp_path / "fresh.ckpt"), "bn.moving_mean": np.full(3, 2.0, np.float32)}
    ckpt_file.write(tmp_path / "like.ckpt", other)

    like = open_document(tmp_path / "like.ckpt")
    conversion = convert(open_document(tmp_path / "source.safetensors"), tmp_path / "out.ckpt", like=like)
    assert not (tmp_path / "out.ckpt").exists()
    assert [row[2] for row in conversion.matching.rows()] == ["dense (1,0)", "same"]
    norms = dict(conversion.norms())
    assert norms["fc.weight"]["first_moment"] == pytest.approx(np.linalg.norm(kernel))
    conversion.carry_out()
    out = open_document(tmp_path / "out.ckpt")
    assert out.state.step == 11
    for tensors in out.state.tensors.values():
        assert np.array_equal(np.asarray(tensors["fc.weight"]), kernel.T)
    assert np.array_equal(np.asarray(out.tensors["bn.moving_mean"]), np.full(3, 2.0))
    assert np.asarray(out.tensors["beta2_power"]) == running_product(0.999, 11, np.float32)

    only = convert(open_document(tmp_path / "source.safetensors"), tmp_path / "only.ckpt", like=like, state_only=True)
    only.carry_out()
    found = read(tmp_path / "only.ckpt")
    assert found.parameters is not None
    assert not np.asarray(found.parameters["fc.weight"]).any()
    assert np.array_equal(np.asarray(found.first_moment["fc.weight"]), kernel.T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, like: (s, like, "out.txt", {}), "expected a name that ends in"),
        (lambda s, like: (s, None, "out.safetensors", {"rename": {"a": "b"}}), "pass it as like"),
        (lambda s, like: (made(amsgrad=True), like, "out.ckpt", {}), "maximum_second_moment"),
        (lambda s, like: (s, made(amsgrad=True), "out.ckpt", {}), "maximum_second_moment"),
        (lambda s, like: (s, like, "out.ckpt", {"form": "neutral"}), "does not go with the name"),
        (lambda s, like: (s, like, "out.keras", {}), "holds a model too"),
        (lambda s, like: (s, like, "out.ckpt", {"rename": {"x": "y"}}), "'x'"),
    ],
)
def test_a_conversion_that_cannot_be(tmp_path: Path, change: Callable[..., Any], message: str) -> None:
    state, like, name, options = change(made(), made(5))
    write(tmp_path / "source.safetensors", state)
    document = None
    if like is not None:
        write(tmp_path / "like.ckpt", like)
        document = open_document(tmp_path / "like.ckpt")
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(StateError, match=message):
        convert(open_document(tmp_path / "source.safetensors"), tmp_path / name, like=document, **options).carry_out()
    assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"])
def test_a_dtype_that_is_unknown_here_is_named(tmp_path: Path, code: str) -> None:
    """The library knows more dtypes than a state may have."""
    path, size = tmp_path / "a.safetensors", 8 if code == "C64" else 1
    tensors = {"fine": ("F32", 4), "odd": (code, size)}
    header, end = {}, 0
    for name, (kind, length) in tensors.items():
        header[name] = {"dtype": kind, "shape": [1], "data_offsets": [end, end + length]}
        end += length
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    for reader in (read, open_document, safetensors_file.read):
        with pytest.raises(StateError, match=f"'odd' has dtype {code}, which is unknown here"):
            reader(path)


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "datetime64[s]", "S4"])
def test_a_dtype_that_a_file_cannot_hold_is_refused_before_it_is_written(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    tensors: dict[str, Any] = {"fine": np.ones(2, np.float32), "odd": np.zeros(2, dtype)}
    with pytest.raises(StateError, match=r"'odd' has dtype .*, which safetensors does not know"):
        safetensors_file.write_sealed(path, tensors, {})
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == b"old"


def _field(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer: a number, or bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 300), (20_000, 1), (2, 3, 1, 4)])
def test_a_checkpoint_may_pack_its_shapes(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    """A reader of protocol buffers must take either form of a list of numbers."""
    path = tmp_path / "a.ckpt"
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)

    def content(axes: bytes) -> bytes:
        tensor = axes + _field(2, b"Float32") + _field(3, array.tobytes())
        return _field(1, _field(1, b"w") + _field(2, tensor)) + _field(1, _field(1, b"v") + _field(2, tensor))

    joined = b"".join(map(_varint, shape))
    path.write_bytes(content(_field(1, joined) if packed else b"".join(_field(1, axis) for axis in shape)))
    for stored_one in ckpt_file.read(path).values():
        np.testing.assert_array_equal(np.asarray(stored_one), array)
    path.write_bytes(content(_field(1, joined[:-1] + b"\x80")))
    with pytest.raises(StateError, match="not a whole MindSpore checkpoint"):
        ckpt_file.read(path)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for name in ("a.safetensors", "a.ckpt"):
        for content in (b"", b"hello, world, this is text", b"\x80\x04\x95\x10\x00\x00\x00", os.urandom(200)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(StateError, match=name):
                read(tmp_path / name)
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(StateError, match=r"holds no state of mindspore\.nn\.Adam"):
        read(tmp_path / "a.safetensors")
    with pytest.raises(StateError, match="no such file"):
        read(tmp_path / "b.ckpt")
    with pytest.raises(StateError, match="expected a name"):
        (tmp_path / "a.pkl").write_bytes(b"x")
        read(tmp_path / "a.pkl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    for name, form in FORMS.items():
        write(folder / name, made(), form=form)
    return {name: (folder / name).read_bytes() for name in FORMS}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(list(FORMS)))
def test_damage_is_seen(tmp_path: Path, whole: dict[str, bytes], data: st.DataObject, name: str) -> None:
    """Cut off, flipped, overwritten, prolonged: an error that names the file; never another state."""
    content = bytearray(whole[name])
    kind = data.draw(st.sampled_from(["cut", "flip", "overwrite", "prolong", "swap"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[place:]
    elif kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "overwrite":
        new = data.draw(st.binary(min_size=1, max_size=40))
        content[place : place + len(new)] = new
    elif kind == "prolong":
        content += data.draw(st.binary(min_size=1, max_size=40))
    else:
        content = content[place:] + content[:place]
    path = tmp_path / name
    path.write_bytes(content)
    try:
        found = read(path)
        unharmed = same(found, made(), order=False)
    except StateError as error:
        assert name in str(error)
    else:
        assert unharmed, "a damaged file was read as another state"


WRITERS = """
import os, sys, numpy as np
from adamcompat.state import AdamState
from adamcompat.state.files import write
for line in sys.stdin:
    step = int(line)
    if child := os.fork():
        os.waitpid(child, 0)
        print("over", flush=True)
        continue
    moments = {f"w{i}": np.full(200_000, float(step), np.float32) for i in range(20)}
    state = AdamState(step=step, first_moment=moments, second_moment=moments,
                      hyperparameters={"beta1": 0.9, "beta2": 0.999})
    print(os.getpid(), flush=True)
    write(sys.argv[1], state)
    print("written", flush=True)
    while True:
        write(sys.argv[1], state)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_kill_9_leaves_the_old_file_or_the_new_one(tmp_path: Path, name: str) -> None:
    path, seen = tmp_path / name, set()
    rng = random.Random(0)
    takes = 0.0
    command = [sys.executable, "-W", "ignore", "-c", WRITERS, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=os.environ | {"PYTHONPATH": str(ROOT)}) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        for attempt in range(26):
            print(attempt, file=parent.stdin, flush=True)
            writer = int(parent.stdout.readline())
            # Every other one has written its state once, which also tells how long that takes here.
            if attempt % 2 == 0:
                start = time.perf_counter()
                assert parent.stdout.readline() == "written\n"
                takes = time.perf_counter() - start
            time.sleep(rng.uniform(0.0, 1.5 * takes))
            os.kill(writer, signal.SIGKILL)
            while parent.stdout.readline() != "over\n":
                pass
            if path.exists():
                state = read(path)
                seen.add(state.step)
                assert attempt % 2 or state.step == attempt
                assert all((np.asarray(tensor) == state.step).all() for tensor in state.first_moment.values())
        parent.stdin.close()
    assert len(seen) > 1
