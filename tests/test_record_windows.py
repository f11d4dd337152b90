"""Recordings that begin in the middle of a training, on a disk that is full, and files that are damaged or old."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam, compare, record
from adamcompat.drive import open_driver
from adamcompat.recording import Recording, read
from adamcompat.recording.recorder import Recorder
from adamcompat.state import AdamState
from adamcompat.state.slots import name_of

pytest.importorskip("safetensors")

SHAPES = ((4, 3), (5,), ())
ROOT = Path(__file__).resolve().parents[1]


class Training:
    """A small network whose gradients depend on its weights."""

    def __init__(self, style: str = "tf", **given: Any) -> None:
        rng = np.random.default_rng(8)
        self.weights = [
            Parameter(np.asarray(rng.standard_normal(s), np.float32), name=f"layer/w{i}") for i, s in enumerate(SHAPES)
        ]
        self.style, self.done = style, 0
        self.optimizer: Any
        if style == "tf":
            self.optimizer = TFStyleAdam(0.1, **given)
        else:
            self.optimizer = MindSporeStyleAdam(self.weights, 0.1, **given)

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            gradients = [np.asarray(w.data * np.float32(0.3) + np.float32(self.done)) for w in self.weights]
            if self.style == "tf":
                self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))
            else:
                self.optimizer(tuple(gradients))
            self.done += 1


def window(path: Path, before: int = 7, style: str = "tf", **given: Any) -> Training:
    """A training of which some steps in the middle are recorded."""
    training = Training(style, **given)
    training.go_on(before)
    with record(training.optimizer, path):
        training.go_on(6)
    training.go_on(2)
    return training


OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("tf", {}),
    "amsgrad": ("tf", {"amsgrad": True}),
    "averages": ("tf", {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4}),
    "accumulation": ("tf", {"gradient_accumulation_steps": 3}),
    "products": ("tf", {"numerics": "tf1"}),
    "mindspore": ("ms", {"weight_decay": 0.1, "use_amsgrad": True}),
    "mindspore's products": ("ms", {"numerics": "mindspore", "use_nesterov": True}),
}


@pytest.mark.parametrize("before", [0, 1, 7])
@pytest.mark.parametrize("name", OPTIONS)
def test_any_window_is_replayed(name: str, before: int, tmp_path: Path) -> None:
    style, given = OPTIONS[name]
    path = tmp_path / "run.safetensors"
    window(path, before, style, **given)
    found = read(path)
    assert found.start == before
    assert (found.state is None) == (before == 0)
    if found.state is not None:
        assert found.state.names == found.names
        every = given.get("gradient_accumulation_steps", 1)
        assert (found.state.step, found.state.accumulated_calls) == divmod(before, every)
    driver = "adamcompat.TFStyleAdam" if style == "tf" else "adamcompat.MindSporeStyleAdam"
    pair = compare("recorded", driver, gradients=path).pairs[0]
    assert (pair.spacings, len(pair.curve)) == (0, 6)
    # The reference in float64 begins there, too: else it would be far away from the first step on.
    dialect = "keras3" if style == "tf" else "mindspore"
    assert compare("recorded", f"float64:{dialect}", gradients=path).pairs[0].spacings < 500


def test_a_window_changes_nothing(tmp_path: Path) -> None:
    recorded, alone = window(tmp_path / "x"), Training()
    alone.go_on(15)
    for one, other in zip(recorded.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_window_is_no_beginning(tmp_path: Path) -> None:
    """Without the moments of that step the same gradients lead elsewhere."""
    window(tmp_path / "x")
    found = read(tmp_path / "x")
    fresh = compare(
        "adamcompat.TFStyleAdam(learning_rate=0.1)",
        "float64(learning_rate=0.1)",
        gradients=found.gradients,
        weights=found.weights,
    ).runs[0]
    assert any(
        np.abs(one - kept[-1]).max() > 0.01 for one, kept in zip(fresh.parameters, found.parameters, strict=True)
    )


def test_another_optimizer_is_told_from_a_window(tmp_path: Path) -> None:
    window(tmp_path / "x", epsilon=1e-2)
    pair = compare("recorded", "adamcompat.TFStyleAdam(epsilon=1e-7)", gradients=tmp_path / "x").pairs[0]
    assert [cause.name for cause in pair.causes or []] == ["epsilon"]
    found = compare("recorded", "float64:mindspore", "adamcompat.MindSporeStyleAdam", gradients=tmp_path / "x")
    assert "6 steps recorded from adamcompat.numpy.adapters.TFStyleAdam after its first 7 in x" in found.about
    assert found.pairs[0].spacings < 500


def test_what_the_other_optimizer_does_not_keep_is_left_out_and_what_is_missing_begins(tmp_path: Path) -> None:
    window(tmp_path / "ams", amsgrad=True, use_ema=True)
    window(tmp_path / "plain")
    plain = compare("recorded", "adamcompat.TFStyleAdam(amsgrad=False, use_ema=False)", gradients=tmp_path / "ams")
    assert [cause.name for cause in plain.pairs[0].causes or []] in (["amsgrad"], [])
    more = compare("recorded", "adamcompat.TFStyleAdam(amsgrad=True, use_ema=True)", gradients=tmp_path / "plain")
    assert more.pairs[0].curve[0].spacings == 0, "the largest second moment begins with the second moment"


def test_the_middle_of_an_accumulation_needs_the_same_accumulation(tmp_path: Path) -> None:
    window(tmp_path / "x", before=4, gradient_accumulation_steps=3)
    assert compare("recorded", "adamcompat.TFStyleAdam", gradients=tmp_path / "x").pairs[0].spacings == 0
    with pytest.raises(ValueError, match=r"in the middle of an accumulation \(1 of 3 gradients\)"):
        other = "adamcompat.TFStyleAdam(gradient_accumulation_steps=None)"
        compare("recorded", other, gradients=tmp_path / "x")


def test_groups_go_on_in_their_order(tmp_path: Path) -> None:
    weights = [Parameter(np.full(3, 0.5 + i, np.float32), name) for i, name in enumerate("abc")]
    groups: list[Any] = [{"params": weights[2:]}, {"params": weights[:2], "lr": 0.3}]
    optimizer = MindSporeStyleAdam(groups, 0.1, weight_decay=0.2)

    def step() -> None:
        optimizer(tuple(weight.data * np.float32(0.3) for weight in (*weights[2:], *weights[:2])))

    for _ in range(4):
        step()
    with record(optimizer, tmp_path / "x"):
        for _ in range(4):
            step()
    assert compare("recorded", "adamcompat.MindSporeStyleAdam", gradients=tmp_path / "x").pairs[0].spacings == 0


def test_a_window_of_some_parameters(tmp_path: Path) -> None:
    """What has no gradients is not recorded, and neither is its state."""
    one, other = Parameter(np.ones(2), "one"), Parameter(np.ones(3), "other")
    optimizer = TFStyleAdam(0.1)
    optimizer.apply_gradients([(np.ones(2), one), (np.ones(3), other)])
    with record(optimizer, tmp_path / "x"), pytest.warns(UserWarning, match="do not exist"):
        for _ in range(3):
            optimizer.apply_gradients([(np.ones(2), one), (None, other)])
    found = read(tmp_path / "x")
    assert found.names == ("one",)
    assert found.state is not None
    assert found.state.names == ("one",)
    assert compare("recorded", "adamcompat.TFStyleAdam", gradients=tmp_path / "x").pairs[0].spacings == 0


def test_a_state_that_is_not_known_is_said_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "x", every=1, max_bytes=9999, optimizer="a.SGD", driver=None, hyperparameters=None)
    with caplog.at_level(logging.WARNING, "adamcompat"):
        recorder.before(["w"], [np.ones(2)], 3, lambda: None)
        assert "recording begins after 3 steps of a.SGD, whose state is not known (it is no Adam)" in caplog.text
        recorder.after(["w"], [np.ones(2)], lambda: [np.ones(2)])
        recorder.close()
    with pytest.raises(ValueError, match="was recorded from step 4 on; a replay needs the moments"):
        compare("recorded", "float64", gradients=tmp_path / "x")


def test_the_state_counts_for_the_size(tmp_path: Path) -> None:
    training = Training()
    training.go_on(3)
    one = sum(weight.data.nbytes for weight in training.weights)
    recorder = record(training.optimizer, tmp_path / "x", max_bytes=one * 2)
    training.go_on(1)
    recorder.close()
    assert recorder.steps == 0
    assert "max_bytes" in recorder.stopped
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["adamcompat.TFStyleAdam", "adamcompat.MindSporeStyleAdam", "float64", "float64:tf1"])
def test_drivers_go_on_from_a_state(name: str) -> None:
    rng = np.random.default_rng(0)
    names = [f"w{i}" for i in range(len(SHAPES))]
    draws = [[np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES] for _ in range(8)]
    whole = open_driver(name, draws[0], {"learning_rate": [0.1 / (t + 1) for t in range(8)]}, names)
    for gradients in draws[:5]:
        whole.step(gradients)
    later = open_driver(name, whole.parameters(), {"learning_rate": [0.1 / (t + 1) for t in range(8)]}, names)
    kept, dialect = whole.slots(), whole.opened.dialect.name
    m, v = (
        {name: kept[str(name_of(role, name, dialect))] for name in names} for role in ("first_moment", "second_moment")
    )
    later.load(AdamState(step=5, first_moment=m, second_moment=v))
    for gradients in draws[5:]:
        whole.step(gradients)
        later.step(gradients)
    for one, other in zip(whole.parameters(), later.parameters(), strict=True):
        np.testing.assert_array_equal(one, other)


# A disk that is full.

LIMITED = """
    import resource, signal, sys
    import numpy as np
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from adamcompat import TFStyleAdam, record
    weight, optimizer = np.ones(1000), TFStyleAdam()
    optimizer.apply_gradients([(np.ones(1000), weight)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    HOW
    print("the training goes on", optimizer.iterations)
"""
STEPS = "[optimizer.apply_gradients([(np.ones(1000), weight)]) for _ in range(N)]"


def limited(path: Path, limit: int, steps: int, how: str) -> subprocess.CompletedProcess[str]:
    """A training with steps of 8000 bytes, where no file may be longer than a limit."""
    how = how.replace("N", str(steps))
    code = textwrap.dedent(LIMITED).replace("LIMIT,", f"{limit},").replace(" LIMIT)", f" {limit})").replace("HOW", how)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TARGET": str(path)}
    command = [sys.executable, "-c", f"import os\npath = os.environ['TARGET']\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


@pytest.mark.skipif(os.name != "posix", reason="limits of processes")
@pytest.mark.parametrize("old", [False, True], ids=["nothing there", "an older file"])
def test_no_file_is_named_that_is_not_there(old: bool, tmp_path: Path) -> None:
    """The records fit, each kind by itself, and the file, which holds both and the state, does not."""
    path = tmp_path / "x.safetensors"
    if old:
        window(path)
    before = path.read_bytes() if old else b""
    done = limited(path, 20_000, 2, f"with record(optimizer, path):\n        {STEPS}")
    assert done.stdout == "the training goes on 3\n"
    assert "2 steps could not be written to" in done.stderr
    assert ("the file that is there is an older one" if old else "there is no file") in done.stderr
    assert "are recorded in" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == (["x.safetensors"] if old else [])
    assert not old or path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="limits of processes")
@pytest.mark.parametrize("limit", [92_000, 150_000, 200_000, 340_000])
def test_what_has_room_is_kept(limit: int, tmp_path: Path) -> None:
    """The records end where there is no more room, and the file, which is longer, holds as many as fit."""
    path = tmp_path / "x.safetensors"
    done = limited(path, limit, 20, f"with record(optimizer, path):\n        {STEPS}")
    assert done.stdout == "the training goes on 21\n"
    found = read(path)
    assert path.stat().st_size <= limit
    assert 4 <= found.steps < 20
    assert found.stopped
    assert f"{found.steps} " in done.stderr
    assert f"recorded in {path}" in done.stderr
    assert "could not be written" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "adamcompat" in line]) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]
    pair = compare("recorded", "adamcompat.TFStyleAdam", gradients=path).pairs[0]
    assert (pair.spacings, len(pair.curve)) == (0, found.steps)


@pytest.mark.skipif(os.name != "posix", reason="limits of processes")
def test_a_process_that_ends_says_what_it_cannot_write(tmp_path: Path) -> None:
    done = limited(tmp_path / "x", 20_000, 2, f"recorder = record(optimizer, path); {STEPS}")
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_closing_by_hand_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    recorder = record(training.optimizer, tmp_path / "x")
    training.go_on(2)

    def full(*given: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("adamcompat.recording.recorder.write", full)
        with pytest.raises(OSError, match="No space left"):
            recorder.close()
    training.go_on(1)
    assert recorder.steps == 2


def test_a_stop_that_could_not_write_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = Training()
    recorder = record(training.optimizer, tmp_path / "x")
    training.go_on(2)

    def full(*given: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "adamcompat"):
        patch.setattr("adamcompat.recording.recorder.write", full)
        recorder.stop("enough")
    assert [entry.message.partition("enough; ")[2] for entry in caplog.records] == [
        f"2 steps could not be written to {tmp_path / 'x'} (No space left on device): there is no file; closing the "
        f"recorder tries it again"
    ]
    recorder.close()
    assert (read(tmp_path / "x").steps, read(tmp_path / "x").stopped) == (2, "enough")


# Files.


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Recording]:
    path = tmp_path_factory.mktemp("whole") / "x"
    window(path, amsgrad=True)
    return path.read_bytes(), read(path)


def same(one: Recording, other: Recording) -> bool:
    arrays = [
        np.array_equal(a, b) and a.dtype == b.dtype
        for kind in ("weights", "gradients", "parameters")
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True)
    ]
    facts = [
        getattr(one, name) == getattr(other, name)
        for name in ("names", "optimizer", "driver", "hyperparameters", "start", "steps", "kept", "stopped")
    ]
    assert one.state is not None and other.state is not None
    kept = [
        np.array_equal(np.asarray(tensor), np.asarray(other.state.tensors[role][name]))
        for role, tensors in one.state.tensors.items()
        for name, tensor in tensors.items()
    ]
    return all(arrays) and all(facts) and all(kept) and one.state.step == other.state.step


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_seen(tmp_path: Path, whole: tuple[bytes, Recording], data: st.DataObject) -> None:
    content = bytearray(whole[0])
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
    path = tmp_path / "x"
    path.write_bytes(content)
    try:
        found = read(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert same(found, whole[1]), "a damaged file was read as another recording"


def test_every_byte_of_the_elements_is_checked(tmp_path: Path, whole: tuple[bytes, Recording]) -> None:
    content = whole[0]
    begin = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "x"
    for place in range(begin, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError, match="is damaged"):
            read(path)


def test_recordings_of_the_first_version_are_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    names = ["a", "b"]
    tensors = {
        f"{kind}/{name}": np.full((*steps, 2), 0.5, np.float32)
        for name in names
        for kind, steps in (("weights", ()), ("gradients", (3,)), ("parameters", (1,)))
    }
    metadata = {
        "format": "adamcompat.recording",
        "version": "1",
        "names": json.dumps(names),
        "optimizer": "adamcompat.numpy.adapters.TFStyleAdam",
        "driver": "adamcompat.TFStyleAdam",
        "hyperparameters": json.dumps({"learning_rate": 0.1}),
        "start": "0",
        "steps": "3",
        "kept": "[3]",
        "stopped": "",
    }
    save_file(tensors, tmp_path / "x", metadata)
    found = read(tmp_path / "x")
    assert (found.names, found.steps, found.kept, found.state) == (("a", "b"), 3, (3,), None)
    assert len(compare("recorded", "adamcompat.TFStyleAdam", gradients=tmp_path / "x").pairs[0].curve) == 1
    save_file(tensors, tmp_path / "x", metadata | {"start": "4"})
    with pytest.raises(ValueError, match="an older adamcompat wrote it"):
        compare("recorded", "adamcompat.TFStyleAdam", gradients=tmp_path / "x")
    save_file(tensors, tmp_path / "x", metadata | {"checksum": "0" * 8})
    with pytest.raises(ValueError, match="claims version 1, which has no checksums"):
        read(tmp_path / "x")


def test_what_is_written_names_its_version(tmp_path: Path) -> None:
    from safetensors import safe_open

    window(tmp_path / "x")
    with safe_open(tmp_path / "x", "numpy") as file:
        metadata = file.metadata()
        assert metadata["version"] == "2"
        assert json.loads(metadata["checksums"]).keys() == set(file.keys())
        assert json.loads(metadata["state"])["step"] == 7
        assert {name.partition("/")[0] for name in file.keys()} >= {"first_moment", "second_moment"}  # noqa: SIM118
