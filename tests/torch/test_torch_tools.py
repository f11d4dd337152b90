"""Tools on this package's optimizers of PyTorch's tensors: driven, recorded, compared, and their state carried."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat
import adamcompat.torch as ours
from adamcompat import RowSparse, record
from adamcompat.comparison import compare
from adamcompat.drive import open_driver
from adamcompat.recording.file import read
from adamcompat.state import AdamState
from tests.torch.test_torch_styles import advance, trained

STYLES = {
    "TFStyleAdam": {"epsilon": 1e-3, "weight_decay": 0.1, "amsgrad": True, "clipnorm": 0.5},
    "TFStyleAdamW": {"beta_1": 0.5},
    "MindSporeStyleAdam": {"use_nesterov": True, "weight_decay": 0.1, "loss_scale": 8.0},
    "MindSporeStyleAdamWeightDecay": {"weight_decay": 0.1},
}


def drawn(seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in ((3, 5), (7,), ())]


@pytest.mark.parametrize("name", STYLES)
def test_each_is_driven_as_its_class_on_numpy(name: str) -> None:
    numerics = "mindspore" if name.startswith("Mind") else "keras3"
    drivers = [
        open_driver(f"{module}.{name}", drawn(0), {**STYLES[name], "numerics": numerics}, ["dense", "gamma", "x"])
        for module in ("adamcompat.torch", "adamcompat")
    ]
    for step in range(6):
        for driver in drivers:
            driver.step(drawn(step))
    for one, other in zip(drivers[0].parameters(), drivers[1].parameters(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_and_schedules_are_driven() -> None:
    given = {"learning_rate": [0.1, 0.2], "numerics": "keras3"}
    drivers = [
        open_driver(f"{module}.TFStyleAdam", [np.ones((5, 3), np.float32)], given)
        for module in ("adamcompat.torch", "adamcompat")
    ]
    for driver in drivers:
        for row in (1, 2):
            driver.step([RowSparse([row], np.ones((1, 3), np.float32))])
    np.testing.assert_array_equal(drivers[0].parameters()[0], drivers[1].parameters()[0])


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("name", [*STYLES, "Adam", "AdamW"])
def test_a_recording_is_replayed(name: str, begin: int, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    given = STYLES.get(name, {"betas": (0.8, 0.9)})
    parameters, made = trained(lambda own: getattr(ours, name)(own, **given), begin)
    with record(made, path):
        advance(parameters, made, 4, seed=5)
    found = read(path)
    assert (found.optimizer, found.start) == (f"adamcompat.torch.{name}", begin) or found.driver is not None
    assert found.hyperparameters is not None
    assert (found.state is None) == (begin == 0)
    assert str(found.driver) == f"adamcompat.torch.{name}"
    assert compare("recorded", str(found.driver), gradients=path).pairs[0].spacings == 0


@pytest.mark.parametrize("name", STYLES)
def test_state_goes_to_numpy_and_back(name: str) -> None:
    kind = getattr(ours, name)
    parameters, made = trained(lambda own: kind(own, **STYLES[name]))
    named = {"a": parameters[0], "b": parameters[1]}
    state = AdamState.of(made, named)
    assert (state.step, state.dialect) == (3, made._dialect().name)
    others = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    other = kind(others, **STYLES[name])
    state.load_into(other, parameters={"a": others[0], "b": others[1]})
    advance(parameters, made, 2, seed=7)
    advance(others, other, 2, seed=7)
    for one, same in zip(parameters, others, strict=True):
        assert torch.equal(one, same)


def test_a_keras_style_goes_on_from_stock_state() -> None:
    parameters, made = trained(lambda own: torch.optim.Adam(own))
    others = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    other = ours.TFStyleAdam(others, epsilon=1e-8)
    with pytest.warns(UserWarning, match="epsilon of the form hat instead of paper"):
        AdamState.of(made).load_into(other)
    assert other.iterations == 3
    for one, same in zip(parameters, others, strict=True):
        assert torch.equal(made.state[one]["exp_avg"], other.state[same]["exp_avg"])


def test_compared_with_the_original() -> None:
    found = compare("torch", "adamcompat.torch.Adam", steps=30)
    assert found.agree, found.pairs[0].spacings


def test_threads_may_share_one_that_locks() -> None:
    parameters, made = trained(lambda own: ours.MindSporeStyleAdam(own, use_locking=True), 0)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    made.step()
    threads = [threading.Thread(target=lambda: [made.step() for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.iterations == 81
    waiting = threading.Thread(target=made.step)
    with made._lock():
        waiting.start()
        waiting.join(0.3)
        assert made.iterations == 81
    waiting.join()
    assert made.iterations == 82


def test_the_demo_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    import adamcompat.cli as cli

    assert cli.main(["demo", "--runtime", "torch"]) == 0
    first, _, third, *_ = capsys.readouterr().out.splitlines()
    # PyTorch's square root is not rounded right on every processor.
    assert first.startswith(
        ("Same bits? Yes: ours and torch.optim.Adam", "Same bits? Not all: ours and torch.optim.Adam")
    )
    assert third.startswith("Against the originals? Trained here beside ours: ")
    assert adamcompat.installed().report is not None
