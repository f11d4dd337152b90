"""What is no plain file: a symbolic link stays one, and nothing waits for a FIFO, a socket or a device."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adamcompat.cli as cli
from adamcompat import TFStyleAdam, record
from adamcompat.files import NotAFileError, check_file, replacing, write_bytes
from adamcompat.recording import read as read_recording
from adamcompat.state import AdamState, StateError
from adamcompat.state.files import convert, open_document, read, write

pytest.importorskip("safetensors")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs")

SUFFIXES = ("safetensors", "ckpt", "keras", "h5", "weights.h5", "yaml")
NAMES = {"fifo": "a FIFO", "socket": "a socket", "device": "a device", "link to fifo": "a FIFO"}


def state() -> AdamState:
    moments = {"w": np.ones(3, np.float32)}
    return AdamState(
        step=2,
        first_moment=moments,
        second_moment=moments,
        parameters=moments,
        hyperparameters={"beta1": 0.9, "beta2": 0.999},
        convention="mindspore",
    )


@pytest.fixture(params=NAMES)
def special(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One of each suffix in the working directory, called ``x.SUFFIX``."""
    monkeypatch.chdir(tmp_path)
    opened = []
    for suffix in SUFFIXES:
        path = Path(f"x.{suffix}")
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "socket":
            opened.append(socket.socket(socket.AF_UNIX))
            opened[-1].bind(str(path))
        elif request.param == "device":
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(f"behind.{suffix}")
            path.symlink_to(f"behind.{suffix}")
    write(Path("run.safetensors"), state())
    write(Path("run.ckpt"), state())
    yield NAMES[request.param]
    for each in opened:
        each.close()


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
def test_no_reader_waits(special: str, suffix: str) -> None:
    with pytest.raises(StateError, match=rf"x\.{suffix}: cannot be read: it is {special}, and no file"):
        read(f"x.{suffix}")


def kind_of(path: Path) -> tuple[int, int]:
    facts = path.lstat()
    return facts.st_ino, facts.st_mode


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_no_writer_waits_or_replaces(special: str, suffix: str) -> None:
    before = kind_of(Path(f"x.{suffix}"))
    with pytest.raises(StateError, match=f"cannot be written: it is {special}"):
        write(f"x.{suffix}", state())
    with pytest.raises(StateError, match=f"cannot be written: it is {special}"):
        convert(open_document("run.ckpt"), f"x.{suffix}")
    assert kind_of(Path(f"x.{suffix}")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["state", "show", "x.ckpt"],
        ["state", "convert", "x.ckpt", "out.ckpt"],
        ["state", "convert", "run.ckpt", "x.ckpt"],
        ["state", "convert", "run.ckpt", "out.ckpt", "--like", "x.safetensors"],
        ["state", "convert", "run.ckpt", "out.ckpt", "--like", "run.ckpt", "--map", "x.yaml"],
        ["compare", "recorded", "float64", "--gradients", "x.safetensors"],
        ["compare", "float64", "float64:mindspore", "--steps", "1", "--html", "x.h5"],
    ],
)
def test_no_command_waits(special: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "no file" in capsys.readouterr().err
    assert not Path("out.ckpt").exists()


def test_no_recording_waits(special: str) -> None:
    with pytest.raises(ValueError, match=f"it is {special}, and no file"):
        record(TFStyleAdam(), "x.safetensors")
    with pytest.raises(FileNotFoundError, match="is no file"):
        read_recording("x.safetensors")


def test_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").mkdir()
    with pytest.raises(StateError, match="it is a folder"):
        write(tmp_path / "x.ckpt", state())
    with pytest.raises(NotAFileError):
        check_file(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize("name", ["x.safetensors", "x.keras"])
def test_a_folder_with_the_name_of_a_file_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StateError, match="is a folder"):
        read(tmp_path / name)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.5, float("inf")])
@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_a_beta_that_is_none_is_refused(beta: str, wrong: float, tmp_path: Path) -> None:
    write(tmp_path / "x.safetensors", state())
    with pytest.raises(StateError, match=rf"{beta} must lie in \[0, 1\]"):
        open_document(tmp_path / "x.safetensors", **{beta: wrong})


def written_state(path: Path) -> None:
    write(path, state())


def written_recording(path: Path) -> None:
    weight, optimizer = np.ones(3, np.float32), TFStyleAdam()
    with record(optimizer, path):
        optimizer.apply_gradients([(weight * 2, weight)])


def written_bytes(path: Path) -> None:
    write_bytes(path, b"new")


WRITERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "state": (written_state, read),
    "recording": (written_recording, read_recording),
    "bytes": (written_bytes, Path.read_bytes),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
def test_a_symbolic_link_stays_one(tmp_path: Path, writer: str, there: bool) -> None:
    made, back = WRITERS[writer]
    target, link, second = tmp_path / "data" / "real.safetensors", tmp_path / "link.safetensors", tmp_path / "second"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
        target.chmod(0o640)
    link.symlink_to("data/real.safetensors")
    second.symlink_to(link)
    path = second if writer != "state" else link
    made(path)
    assert link.is_symlink()
    assert second.is_symlink()
    assert not target.is_symlink()
    back(target)
    if there:
        assert target.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in target.parent.iterdir()] == ["real.safetensors"], "no temporary file is left"


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    circle, lost = tmp_path / "circle.ckpt", tmp_path / "lost.ckpt"
    circle.symlink_to(circle)
    lost.symlink_to(tmp_path / "no" / "folder.ckpt")
    for path in (circle, lost):
        with pytest.raises(StateError, match=r"\.ckpt: cannot be written"):
            write(path, state())
        with pytest.raises(StateError, match=r"\.ckpt: "):
            read(path)
        assert path.is_symlink()
    with pytest.raises(OSError), replacing(circle):
        pass
