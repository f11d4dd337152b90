"""PyTorch's optimizers driven, compared and recorded; the training has the bits that it had."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat.cli as cli
from adamcompat import RowSparse, record
from adamcompat.comparison import compare
from adamcompat.drive import open_driver
from adamcompat.recording.file import Recording, read
from tests.torch.test_torch_state import NAMES, Net, same, values

KINDS: dict[str, Any] = {"torch": torch.optim.Adam, "torch_adamw": torch.optim.AdamW}
GIVEN = {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}


def drawn(seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in ((3, 5), (7,), ())]


@pytest.mark.parametrize("name", KINDS)
def test_driven_as_a_direct_call(name: str) -> None:
    driver = open_driver(name, drawn(0), {**GIVEN, "maximize": True}, ["a", "b", "c"])
    own = [torch.nn.Parameter(torch.from_numpy(array)) for array in drawn(0)]
    optimizer = KINDS[name](own, **GIVEN, maximize=True)
    for step in range(5):
        driver.step(drawn(step))
        for one, gradient in zip(own, drawn(step), strict=True):
            one.grad = torch.from_numpy(gradient)
        optimizer.step()
    for one, found in zip(own, driver.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), found)
    slots = driver.slots()
    assert list(slots)[:4] == ["a/step", "a/exp_avg", "a/exp_avg_sq", "a/max_exp_avg_sq"]
    np.testing.assert_array_equal(slots["b/exp_avg"], optimizer.state[own[1]]["exp_avg"])


@pytest.mark.parametrize("rate", [[0.1, 0.05, 0.2], lambda step: [0.1, 0.05, 0.2][step]], ids=["list", "callable"])
def test_rates_that_change(rate: Any) -> None:
    driver = open_driver("torch", drawn(0), {"learning_rate": rate})
    own = [torch.nn.Parameter(torch.from_numpy(array)) for array in drawn(0)]
    optimizer = torch.optim.Adam(own)
    for step, number in enumerate([0.1, 0.05, 0.2]):
        driver.step(drawn(step))
        optimizer.param_groups[0]["lr"] = number
        for one, gradient in zip(own, drawn(step), strict=True):
            one.grad = torch.from_numpy(gradient)
        optimizer.step()
    for one, found in zip(own, driver.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), found)


def test_rows_are_refused() -> None:
    driver = open_driver("torch", [np.ones((5, 3), np.float32)])
    with pytest.raises(ValueError, match=r"torch takes dense gradients only; pass gradient\.dense\(shape\)"):
        driver.step([RowSparse([1], np.ones((1, 3), np.float32))])


def test_compared_with_its_style_and_with_another_epsilon() -> None:
    options = {"numerics": "torch"}
    close = compare("torch", ("adamcompat.TorchStyleAdam", options), steps=50)
    assert close.agree, close.pairs[0].spacings
    far = compare("torch", "adamcompat.MindSporeStyleAdam", steps=50, hyperparameters={"epsilon": 1e-3})
    assert any("form of epsilon: paper against hat" in sentence for sentence in far.pairs[0].sentences)


@pytest.mark.usefixtures("capsys")
def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "torch", "torch_adamw", "--set", "weight_decay=0.0", "--steps", "20"]) == 0
    assert "All agree" in capsys.readouterr().out


Change = Callable[[Any, int], None]


def train(
    path: Path | None, kind: Any = torch.optim.AdamW, begin: int = 0, change: Change | None = None, **options: Any
) -> tuple[Net, Any]:
    """Eight steps, of which those from `begin` on are recorded."""
    net = Net()
    optimizer = kind(net.named_parameters(), 0.01, **options)
    generator, recorder = torch.Generator().manual_seed(3), None
    for step in range(8):
        if step == begin and path is not None:
            recorder = record(optimizer, path)
        optimizer.zero_grad()
        net(torch.randn(4, 1, 6, 6, generator=generator)).square().sum().backward()
        if change is not None:
            change(optimizer, step)
        optimizer.step()
    if recorder is not None:
        recorder.close()
    return net, optimizer


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("kind", KINDS.values())
def test_a_recording_is_replayed_to_the_last_bit(begin: int, kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    net, optimizer = train(path, kind, begin, amsgrad=True, betas=(0.8, 0.9))
    assert same(values(net), values(train(None, kind, amsgrad=True, betas=(0.8, 0.9))[0])), "the training is the same"
    found = read(path)
    assert (found.names, found.steps, found.start) == (NAMES, 8 - begin, begin)
    assert found.optimizer == f"{kind.__module__}.{kind.__qualname__}"
    assert found.hyperparameters is not None
    assert (found.hyperparameters["betas"], found.hyperparameters["amsgrad"]) == ([0.8, 0.9], True)
    assert (found.state is None) == (begin == 0)
    replayed = compare("recorded", str(found.driver), gradients=path)
    assert replayed.pairs[0].spacings == 0
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


def recorded(tmp_path: Path, **options: Any) -> Recording:
    train(tmp_path / "run.safetensors", **options)
    return read(tmp_path / "run.safetensors")


def test_settings_that_change_are_not_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def change(optimizer: Any, step: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)

    with caplog.at_level(logging.WARNING, "adamcompat"):
        found = recorded(tmp_path, change=change)
    assert found.hyperparameters is None
    assert [entry.message for entry in caplog.records] == [
        "adamcompat.record: lr changed after step 1, so that no hyperparameters are recorded: give them to the replay"
    ]
    rates = [0.01 / (1 + step) for step in range(8)]
    replayed = compare("recorded", ("torch_adamw", {"lr": rates}), gradients=tmp_path / "run.safetensors")
    assert replayed.pairs[0].spacings == 0


def test_settings_that_change_before_the_first_step_are_recorded(tmp_path: Path) -> None:
    def change(optimizer: Any, step: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.5

    found = recorded(tmp_path, change=change)
    assert found.hyperparameters is not None
    assert found.hyperparameters["lr"] == 0.5


def test_settings_of_groups_that_differ_are_not_recorded(tmp_path: Path) -> None:
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = torch.optim.Adam([{"params": weights[:1]}, {"params": weights[1:], "betas": (0.5, 0.9)}])
    with record(optimizer, tmp_path / "run.safetensors"):
        for weight in weights:
            weight.grad = torch.ones(3)
        optimizer.step()
    found = read(tmp_path / "run.safetensors")
    assert (found.driver, found.hyperparameters, found.steps) == ("torch", None, 1)


def test_a_closure_and_parameters_without_gradients(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    before = [one.numpy() for one in values(net)]

    def closure() -> Any:
        optimizer.zero_grad()
        loss = net.out(torch.ones(2, 4)).sum()
        loss.backward()
        return loss

    with record(optimizer, tmp_path / "run.safetensors"):
        for _ in range(3):
            optimizer.step(closure)
    found = read(tmp_path / "run.safetensors")
    assert (found.names, found.steps) == (("parameter#4", "parameter#5"), 3)
    for weight, was in zip(found.weights, before[4:], strict=True):
        np.testing.assert_array_equal(weight, was)
    assert compare("recorded", "torch", gradients=tmp_path / "run.safetensors").pairs[0].spacings == 0


def test_what_cannot_be_recorded_is_said_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = torch.nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters(), 0.1)
    with caplog.at_level(logging.WARNING, "adamcompat"), record(optimizer, tmp_path / "run.safetensors"):
        table(torch.tensor([1])).sum().backward()
        optimizer.step()
    assert "because a gradient is not dense; nothing is recorded" in caplog.text
    assert not torch.equal(table.weight[1], torch.nn.Embedding(5, 3).weight[1])
    half = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    other = torch.optim.Adam([half], 0.1)
    with caplog.at_level(logging.WARNING, "adamcompat"), record(other, tmp_path / "run.safetensors"):
        half.grad = torch.ones_like(half)
        other.step()
    assert "recording ended, because TypeError: a parameter has dtype bfloat16" in caplog.text
    assert half[0] < 1
    with record(other, tmp_path / "a.safetensors"), pytest.raises(ValueError, match="is being recorded already"):
        record(other, tmp_path / "b.safetensors")


def test_other_numbers_of_steps_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    net.out(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    net(torch.ones(2, 1, 6, 6)).sum().backward()
    with caplog.at_level(logging.WARNING, "adamcompat"), record(optimizer, tmp_path / "run.safetensors"):
        optimizer.step()
    assert "begins after 1 step of torch.optim.adam.Adam, whose state is not known (parameter#0, " in caplog.text


def test_other_optimizers_are_recorded_too(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], 0.1)
    with record(optimizer, tmp_path / "run.safetensors"):
        weight.grad = torch.ones(3)
        optimizer.step()
    found = read(tmp_path / "run.safetensors")
    assert (found.driver, found.hyperparameters, found.steps) == (None, None, 1)
