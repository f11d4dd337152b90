"""Drop-ins for torch.optim.Adam and AdamW against the installed originals."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat
import adamcompat.torch as ours

ROOT = Path(__file__).resolve().parents[2]
PAIRS = {"Adam": (ours.Adam, torch.optim.Adam), "AdamW": (ours.AdamW, torch.optim.AdamW)}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "betas": {"betas": (0.5, 0.9), "eps": 1e-3},
    "no first moment": {"betas": (0.0, 0.9)},
    "amsgrad": {"amsgrad": True, "lr": 5e-4},
    "maximize": {"maximize": True},
    "decay": {"weight_decay": 0.1, "lr": 5e-4},
}
HINTS: dict[str, dict[str, Any]] = {
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "set later": {},
    "rate in a tensor": {"lr": torch.tensor(0.01)},
}


def parameters_of(dtype: Any = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((30, 50), (70,), (20, 3, 3, 4), ())
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def train(parameters: list[Any], optimizer: Any, steps: int, *, seed: int = 1, without: int | None = None) -> None:
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for place, parameter in enumerate(parameters):
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 10.0 ** (step % 5 - 3)
            parameter.grad = None if place == without else gradient.to(parameter.dtype)
        optimizer.step()


def pair(name: str, dtype: Any = torch.float32, **given: Any) -> tuple[list[Any], Any, list[Any], Any]:
    kind, original = PAIRS[name]
    mine, theirs = parameters_of(dtype), parameters_of(dtype)
    return mine, kind(mine, **given), theirs, original(theirs, **given)


def assert_like(mine: list[Any], one: Any, theirs: list[Any], other: Any, part: float = 0.99) -> None:
    """Moments in every bit, at least so many weights too, and none beyond two spacings of the largest."""
    equal, total = 0, 0
    for parameter, same in zip(mine, theirs, strict=True):
        assert one.state[parameter].keys() == other.state[same].keys()
        for key, kept in other.state[same].items():
            assert torch.equal(one.state[parameter][key], kept), key
        own, wanted = parameter.detach().double().numpy(), same.detach().double().numpy()
        spacing = np.spacing(np.abs(same.detach().numpy()).max())
        np.testing.assert_allclose(own, wanted, rtol=0, atol=2 * float(spacing))
        equal, total = equal + int((own == wanted).sum()), total + own.size
    assert equal >= part * total


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_the_numbers_of_the_original(name: str, dtype: Any, settings: str) -> None:
    made = pair(name, dtype, **SETTINGS[settings])
    for parameters, optimizer in (made[:2], made[2:]):
        train(parameters, optimizer, 10)
    assert made[1]._known[0].cohorts, "the fused pass made the steps"
    if dtype == torch.float64:
        for parameter, same in zip(made[0], made[2], strict=True):
            torch.testing.assert_close(parameter, same, rtol=1e-12, atol=1e-15)
    elif name == "Adam" and settings == "decay":
        # The decay carries a weight's last bit into its moments.
        for parameter, same in zip(made[0], made[2], strict=True):
            torch.testing.assert_close(parameter, same, rtol=1e-6, atol=1e-7)
    else:
        assert_like(*made)


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("name", PAIRS)
def test_hints_are_the_originals(name: str, hint: str) -> None:
    made = pair(name, **HINTS[hint])
    for parameters, optimizer in (made[:2], made[2:]):
        if hint == "set later":
            optimizer.param_groups[0]["foreach"] = True
        train(parameters, optimizer, 4)
    assert not made[1]._known[0].cohorts, "the original made the steps"
    for parameter, same in zip(made[0], made[2], strict=True):
        assert torch.equal(parameter, same)


@pytest.mark.parametrize(
    "given",
    [
        {"foreach": True, "fused": True},
        {"lr": -1.0},
        {"betas": (0.9, 1.0)},
        {"eps": -1.0},
        {"fused": True, "differentiable": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", PAIRS)
def test_the_originals_own_errors(name: str, given: dict[str, Any]) -> None:
    kind, original = PAIRS[name]
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        original(parameters_of(), **given)
    with pytest.raises(type(theirs.value)) as mine:
        kind(parameters_of(), **given)
    assert str(mine.value) == str(theirs.value)


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_without_gradients_have_steps_of_their_own(name: str) -> None:
    made = pair(name)
    for parameters, optimizer in (made[:2], made[2:]):
        train(parameters, optimizer, 3, without=1)
        train(parameters, optimizer, 3, seed=2)
        train(parameters, optimizer, 3, seed=3, without=0)
    assert_like(*made)
    assert [int(made[1].state[parameter]["step"]) for parameter in made[0]] == [6, 6, 9, 9]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("way", ["to stock", "from stock", "deepcopy"])
def test_state_is_the_originals(name: str, way: str) -> None:
    mine, one, theirs, other = pair(name, amsgrad=True)
    train(mine, one, 4)
    train(theirs, other, 4)
    if way == "deepcopy":
        mine, one = copy.deepcopy((mine, one))
    else:
        first, second = (other, one) if way == "to stock" else (one, other)
        first.load_state_dict(copy.deepcopy(second.state_dict()))
    train(mine, one, 4, seed=2)
    train(theirs, other, 4, seed=2)
    assert_like(mine, one, theirs, other)
    assert one.state_dict()["param_groups"] == other.state_dict()["param_groups"]


@pytest.mark.parametrize("name", PAIRS)
def test_groups_and_settings_that_change(name: str) -> None:
    made: list[Any] = []
    for kind in PAIRS[name]:
        parameters = parameters_of()
        groups = [{"params": parameters[:2], "lr": 2e-4, "betas": (0.8, 0.95)}, {"params": parameters[2:], "eps": 1e-3}]
        optimizer = kind(groups)
        train(parameters, optimizer, 3)
        optimizer.param_groups[0]["lr"] = -1e-4
        optimizer.param_groups[1]["betas"] = (0.5, 0.6)
        train(parameters, optimizer, 3, seed=2)
        optimizer.param_groups[0]["lr"] = 3e-4
        train(parameters, optimizer, 3, seed=3)
        made += [parameters, optimizer]
    assert_like(*made)


@pytest.mark.parametrize("name", PAIRS)
def test_betas_in_a_list_are_changed_in_place(name: str) -> None:
    made: list[Any] = []
    for kind in PAIRS[name]:
        parameters, betas = parameters_of(), [0.8, 0.95]
        optimizer = kind([{"params": parameters, "betas": betas}])
        train(parameters, optimizer, 3)
        betas[0] = 0.5
        train(parameters, optimizer, 3, seed=2)
        made += [parameters, optimizer]
    assert made[1]._known[0].cohorts
    assert_like(*made)


@pytest.mark.parametrize("name", PAIRS)
def test_maxima_that_are_no_longer_asked_for_divide_no_more(name: str) -> None:
    made: list[Any] = []
    for kind in PAIRS[name]:
        parameters = parameters_of()
        optimizer = kind(parameters, amsgrad=True)
        train(parameters, optimizer, 4)
        optimizer.param_groups[0]["amsgrad"] = False
        train(parameters, optimizer, 4, seed=2)
        made += [parameters, optimizer]
    assert made[1]._known[0].cohorts
    assert_like(*made)
    for optimizer in made[1::2]:
        # The state of new parameters alone has maxima.
        for state in optimizer.state.values():
            state.pop("max_exp_avg_sq")
        optimizer.param_groups[0]["amsgrad"] = True
        with pytest.raises(KeyError, match="max_exp_avg_sq"):
            optimizer.step()


def test_what_a_subclass_overrides_is_called() -> None:
    class Own(ours.Adam):
        asked = 0

        def _init_group(self, *args: Any) -> Any:
            self.asked += 1
            return super()._init_group(*args)

    parameters = parameters_of()
    optimizer = Own(parameters)
    train(parameters, optimizer, 3)
    assert optimizer.asked == 3
    assert isinstance(optimizer, torch.optim.Adam)
    assert issubclass(ours.AdamW, torch.optim.AdamW)


@pytest.mark.parametrize("kind", ["sparse", "half", "strided"])
def test_what_is_not_ours_is_the_originals(kind: str) -> None:
    mine, one, theirs, other = pair("Adam", torch.bfloat16 if kind == "half" else torch.float32)
    for parameters, optimizer in ((mine, one), (theirs, other)):
        train(parameters, optimizer, 2)
        if kind == "strided":
            for parameter in parameters:
                parameter.data = parameter.data.t().contiguous().t() if parameter.ndim == 2 else parameter.data
        if kind == "sparse":
            parameters[0].grad = torch.ones(30, 50).to_sparse()
            with pytest.raises(RuntimeError, match="does not support sparse gradients"):
                optimizer.step()
            continue
        train(parameters, optimizer, 2, seed=2)
    for parameter, same in zip(mine, theirs, strict=True):
        torch.testing.assert_close(parameter, same, rtol=1e-6, atol=1e-7)


def test_names_are_ours_while_installed() -> None:
    stock = torch.optim.Adam
    with adamcompat.installed() as report:
        assert torch.optim.Adam is not stock
        assert torch.optim.Adam.__module__.startswith(("adamcompat.torch", "torch.optim"))
        parameters = parameters_of()
        optimizer = torch.optim.Adam(parameters)
        assert isinstance(optimizer, ours.Adam)
        train(parameters, optimizer, 3)
        assert "torch.optim.Adam" in str(report.report)
    assert torch.optim.Adam is stock


def test_a_program_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import torch\nfrom torch.optim import AdamW\n"
        "model = torch.nn.Linear(2, 1)\noptimizer = AdamW(model.parameters())\n"
        "for _ in range(3):\n    model(torch.ones(4, 2)).sum().backward()\n    optimizer.step()\n"
        "print(type(optimizer).__mro__[1].__module__)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "adamcompat", "run", "--report", "train.py"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=None, check=False)
    assert result.returncode == 0, result.stderr
    assert "adamcompat.torch" in result.stdout
    assert "in use" in result.stderr
