"""Recordings: what they hold, that they never touch the training, and that no broken file is ever left."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import adamcompat.cli as cli
from adamcompat import MindSporeStyleAdam, Parameter, RowSparse, TFStyleAdam, compare, record
from adamcompat.recording import Recorder, read
from adamcompat.recording.spill import Spill

pytest.importorskip("safetensors")

SHAPES = ((4, 3), (5,), ())


def train(path: Path | None, steps: int = 6, style: str = "tf", **given: Any) -> list[NDArray[Any]]:
    """Some steps of a small network whose gradients depend on its weights; recorded into `path`."""
    rng = np.random.default_rng(8)
    weights = [
        Parameter(np.asarray(rng.standard_normal(s), np.float32), name=f"layer/w{i}") for i, s in enumerate(SHAPES)
    ]
    options = {key: given.pop(key) for key in ("every", "max_bytes") if key in given}
    optimizer: Any = TFStyleAdam(0.1, **given) if style == "tf" else MindSporeStyleAdam(weights, 0.1, **given)
    recorder = record(optimizer, path, **options) if path is not None else None
    for step in range(steps):
        gradients = [np.asarray(weight.data * np.float32(0.3) + np.float32(step)) for weight in weights]
        if style == "tf":
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
        else:
            optimizer(tuple(gradients))
    if recorder is not None:
        recorder.close()
    return [weight.data for weight in weights]


@pytest.mark.parametrize("style", ["tf", "ms"])
def test_holds_what_happened_and_changes_nothing(style: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    recorded, alone = train(path, style=style), train(None, style=style)
    assert all(np.array_equal(a, b) for a, b in zip(recorded, alone, strict=True))
    found = read(path)
    assert (found.steps, found.start, found.kept, found.stopped) == (6, 0, (1, 2, 3, 4, 5, 6), "")
    assert found.names == ("layer/w0", "layer/w1", "layer/w2")
    for i, weight in enumerate(alone):
        assert np.array_equal(found.parameters[i][-1], weight)
        assert np.array_equal(found.gradients[i][0], found.weights[i] * np.float32(0.3))
        assert np.array_equal(found.gradients[i][3], found.parameters[i][2] * np.float32(0.3) + np.float32(3))
    assert [name.name for name in tmp_path.iterdir()] == ["run.safetensors"]


@pytest.mark.parametrize("given", [{}, {"weight_decay": 0.1, "amsgrad": True}, {"numerics": "mindspore"}])
def test_a_replay_repeats_the_recorded_bits(given: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(path, **given)
    replayed = read(path)
    assert replayed.driver == "adamcompat.TFStyleAdam"
    assert replayed.hyperparameters is not None
    assert {"learning_rate": 0.1, **given}.items() <= replayed.hyperparameters.items()
    found = compare("recorded", "adamcompat.TFStyleAdam", gradients=path)
    assert found.agree
    assert found.pairs[0].spacings == 0
    assert len(found.pairs[0].curve) == 6


def test_another_optimizer_is_told_from_the_recorded_one(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(path, steps=30, epsilon=1e-3)
    pair = compare("recorded", "adamcompat.TFStyleAdam(epsilon=1e-7)", gradients=path).pairs[0]
    assert not pair.agree
    assert [cause.name for cause in pair.causes or []] == ["epsilon"]
    assert "epsilon: 0.001 against 1e-07 explains 100% of it" in pair.sentences


def test_every(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(path, steps=7, every=3)
    found = read(path)
    assert (found.steps, found.kept, len(found.gradients[0]), len(found.parameters[0])) == (7, (3, 6), 7, 2)
    pair = compare("recorded", "adamcompat.TFStyleAdam", gradients=path).pairs[0]
    assert [point.step for point in pair.curve] == [3, 6]
    assert pair.agree


def test_groups_are_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    names = ["bn.gamma", "a", "b"]
    weights = [Parameter(np.full(3, 0.5, np.float32), name) for name in names]
    groups: list[Any] = [{"params": weights[:1]}, {"params": weights[1:2], "lr": 0.3}, {"params": weights[2:]}]
    optimizer = MindSporeStyleAdam([*groups, {"order_params": weights[::-1]}], 0.1, weight_decay=0.2)
    with record(optimizer, path):
        for _ in range(5):
            optimizer(tuple(weight.data * np.float32(0.3) for weight in weights[::-1]))
    found = read(path)
    assert found.hyperparameters is not None
    assert found.hyperparameters["params"] == [{"params": ["b", "bn.gamma"]}, {"params": ["a"], "lr": 0.3}]
    # The groups are the default of those that take some; that gamma decays is a part of it.
    comparison = compare("recorded", "adamcompat.MindSporeStyleAdam", "adamcompat.TFStyleAdam", gradients=path)
    assert comparison.pairs[0].spacings == 0
    assert any("learning_rate of a: 0.3 against 0.1" in sentence for sentence in comparison.pairs[1].sentences)
    plain = ("float64:mindspore", {"params": [{"params": names}]})
    assert [cause.name for cause in compare("recorded", plain, gradients=path).pairs[0].causes or []] == [
        "learning_rate"
    ]


def test_rates_of_groups_that_change_are_not_recorded(tmp_path: Path) -> None:
    weight = np.ones(3, np.float32)
    optimizer = MindSporeStyleAdam([{"params": [weight], "lr": lambda step: 0.1}])
    with record(optimizer, tmp_path / "x"):
        optimizer((weight * 2,))
    assert read(tmp_path / "x").hyperparameters is None


def test_max_bytes_ends_the_recording_and_not_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run.safetensors"
    one = sum(4 * int(np.prod(shape)) for shape in SHAPES)
    with caplog.at_level(logging.WARNING, "adamcompat"):
        ended = train(path, max_bytes=one * 8)  # the weights, three steps of two, and one that is left
    assert all(np.array_equal(a, b) for a, b in zip(ended, train(None), strict=True))
    assert [entry.message for entry in caplog.records] == [
        f"adamcompat.record: recording ended, because max_bytes is reached; 3 steps are recorded in {path}"
    ]
    assert (read(path).steps, read(path).stopped) == (3, "recording ended, because max_bytes is reached")
    assert compare("recorded", "adamcompat.TFStyleAdam", gradients=path).agree


def test_what_goes_wrong_in_recording_stays_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Spill.append

    def full(self: Any, arrays: Any) -> None:
        if self.records == 2:
            raise OSError(28, "No space left on device")
        append(self, arrays)

    monkeypatch.setattr(Spill, "append", full)
    with caplog.at_level(logging.WARNING, "adamcompat"):
        ended = train(tmp_path / "run.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(ended, train(None), strict=True))
    assert len(caplog.records) == 1
    assert "No space left on device; 2 steps are recorded" in caplog.text
    assert read(tmp_path / "run.safetensors").steps == 2


def test_a_parameter_without_gradient_ends_the_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights, optimizer = [Parameter(np.ones(2), name="a"), Parameter(np.ones(2), name="b")], TFStyleAdam()
    optimizer.build(weights)
    with record(optimizer, tmp_path / "x") as recorder, caplog.at_level(logging.WARNING, "adamcompat"):
        optimizer.apply_gradients([(np.ones(2), weights[0]), (np.ones(2), weights[1])])
        with pytest.warns(UserWarning, match="do not exist"):
            optimizer.apply_gradients([(np.ones(2), weights[0]), (None, weights[1])])
        optimizer.apply_gradients([(np.ones(2), weights[0]), (np.ones(2), weights[1])])
    assert recorder.steps == 1
    assert "in step 2 other parameters have gradients (b)" in caplog.text


def test_sparse_gradients_are_kept_as_they_add_up(tmp_path: Path) -> None:
    weight, optimizer = np.ones((4, 2), np.float32), TFStyleAdam()
    with record(optimizer, tmp_path / "x"):
        optimizer.apply_gradients([(RowSparse([1, 1], np.ones((2, 2), np.float32)), weight)])
    assert read(tmp_path / "x").gradients[0][0].tolist() == [[0, 0], [2, 2], [0, 0], [0, 0]]


def test_closing_takes_the_recorder_off(tmp_path: Path) -> None:
    weight, optimizer = np.ones(2), TFStyleAdam()
    recorder = record(optimizer, tmp_path / "x")
    with pytest.raises(ValueError, match="being recorded already"):
        record(optimizer, tmp_path / "y")
    optimizer.apply_gradients([(np.ones(2), weight)])
    recorder.close()
    recorder.close()
    before = (tmp_path / "x").read_bytes()
    optimizer.apply_gradients([(np.ones(2), weight)])
    assert recorder.steps == 1
    assert (tmp_path / "x").read_bytes() == before
    assert "step" not in vars(optimizer._engine)
    with record(optimizer, tmp_path / "y"):
        optimizer.apply_gradients([(np.ones(2), weight)])
    assert read(tmp_path / "y").start == 2
    assert compare("recorded", "adamcompat.TFStyleAdam", gradients=tmp_path / "y").pairs[0].spacings == 0


def test_save_writes_what_there_is_and_goes_on(tmp_path: Path) -> None:
    weight, optimizer = np.ones(2), TFStyleAdam()
    with record(optimizer, tmp_path / "x") as recorder:
        recorder.save()
        assert not (tmp_path / "x").exists(), "nothing to write yet"
        optimizer.apply_gradients([(np.ones(2), weight)])
        recorder.save()
        assert read(tmp_path / "x").steps == 1
        optimizer.apply_gradients([(np.ones(2), weight)])
    assert read(tmp_path / "x").steps == 2


def test_a_recorder_that_saw_nothing_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "adamcompat"):
        record(TFStyleAdam(), tmp_path / "x").close()
    assert "no step was seen" in caplog.text
    assert not list(tmp_path.iterdir())


def test_an_error_in_the_training_leaves_a_usable_file(tmp_path: Path) -> None:
    weight, optimizer = np.ones(2), TFStyleAdam()
    with pytest.raises(ZeroDivisionError), record(optimizer, tmp_path / "x"):
        optimizer.apply_gradients([(np.ones(2), weight)])
        raise ZeroDivisionError
    assert read(tmp_path / "x").steps == 1


_LONG = """
    import sys, time
    import numpy as np
    from adamcompat import TFStyleAdam, record
    weight, optimizer = np.ones(1000), TFStyleAdam()
    recorder = record(optimizer, sys.argv[1])
    for step in range({steps}):
        optimizer.apply_gradients([(np.ones(1000), weight)])
        if step == 50:
            print("fifty", flush=True)
"""


def test_a_process_that_ends_writes_the_file(tmp_path: Path) -> None:
    code = textwrap.dedent(_LONG.format(steps=60))
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], check=True, env=os.environ, stdout=subprocess.DEVNULL
    )
    assert read(tmp_path / "x").steps == 60


def test_a_process_that_is_killed_leaves_the_old_file_or_none(tmp_path: Path) -> None:
    train(tmp_path / "old")
    before = (tmp_path / "old").read_bytes()
    for name in ("old", "new"):
        code = textwrap.dedent(_LONG.format(steps=10**9))
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"fifty\n"
            process.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not a recording"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "is not a recording"),
        (b"PK\x03\x04 something else entirely", "is not a recording"),
    ],
)
def test_files_that_are_no_recordings(content: bytes, text: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read(tmp_path / "x")
    assert cli.main(["compare", "recorded", "float64", "--gradients", str(tmp_path / "x")]) == 2
    assert text in capsys.readouterr().err


def test_truncated_recordings(tmp_path: Path) -> None:
    train(tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    for length in (4, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "y").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a recording"):
            read(tmp_path / "y")
    with pytest.raises(FileNotFoundError, match="is no file"):
        read(tmp_path / "z")


def test_a_recording_whose_tensors_do_not_fit(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    train(tmp_path / "x")
    from safetensors import safe_open

    with safe_open(tmp_path / "x", "numpy") as file:
        metadata = {key: text for key, text in file.metadata().items() if not key.startswith("checksum")}
    metadata["version"] = "1"
    tensors = load_file(tmp_path / "x")
    tensors["gradients/layer/w1"] = tensors["gradients/layer/w1"][:, :2].copy()
    save_file(tensors, tmp_path / "x", metadata)
    with pytest.raises(ValueError, match=r"layer/w1 has gradients of shape \(6, 2\)"):
        read(tmp_path / "x")
    save_file(load_file(tmp_path / "x"), tmp_path / "x", metadata | {"version": "9"})
    with pytest.raises(ValueError, match="version 9"):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"every": 0}, ValueError, "every must be a whole number of at least 1"),
        ({"max_bytes": 1.5}, ValueError, "max_bytes must be a whole number"),
        ({"path": "/no/such/folder/x"}, ValueError, "folder /no/such/folder does not exist"),
        ({"optimizer": TFStyleAdam}, TypeError, "is not an optimizer"),
        ({"optimizer": "adam"}, TypeError, "'adam' is not an optimizer"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], error: type[Exception], text: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"optimizer": TFStyleAdam(), "path": tmp_path / "x"} | given
    with pytest.raises(error, match=text):
        record(arguments.pop("optimizer"), arguments.pop("path"), **arguments)
    assert not list(tmp_path.iterdir())


def test_the_command_replays(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path / "run.safetensors")
    command = ["compare", "recorded", "adamcompat.TFStyleAdam", "--gradients", str(tmp_path / "run.safetensors")]
    assert cli.main(command) == 0
    assert "6 steps recorded from adamcompat.numpy.adapters.TFStyleAdam in run.safetensors" in capsys.readouterr().out
    assert cli.main([*command, "--set", "lr=0.2", "--steps", "3"]) == 1
    assert "learning_rate: 0.1 against 0.2 explains 100% of it" in capsys.readouterr().out
    assert cli.main([*command, "--steps", "7"]) == 2
    assert "holds 6 steps, fewer than the 7 asked for" in capsys.readouterr().err


def test_recorder_says_what_it_is(tmp_path: Path) -> None:
    with record(TFStyleAdam(), tmp_path / "x") as recorder:
        assert isinstance(recorder, Recorder)
        assert repr(recorder) == f"Recorder('{tmp_path / 'x'}', steps=0)"
        recorder.stop("enough")
    assert "stopped='enough'" in repr(recorder)
