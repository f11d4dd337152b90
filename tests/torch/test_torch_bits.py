"""TorchStyleAdam and TorchStyleAdamW with numerics "torch" against the installed PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adamcompat import Parameter, TorchStyleAdam, TorchStyleAdamW

SHAPES = ((64, 17), (1003,), (5, 3, 3), ())
PAIRS: dict[str, tuple[Any, Any]] = {
    "Adam": (torch.optim.Adam, TorchStyleAdam),
    "AdamW": (torch.optim.AdamW, TorchStyleAdamW),
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("Adam", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "L2": ("Adam", {"weight_decay": 0.05}),
    "maximize": ("Adam", {"maximize": True, "weight_decay": 0.05}),
    "large epsilon": ("Adam", {"eps": 1e-3}),
    "other betas": ("Adam", {"betas": (0.8, 0.95)}),
    "switched decay": ("Adam", {"weight_decay": 0.05, "decoupled_weight_decay": True}),
    "AdamW": ("AdamW", {}),
    "AdamW, all": ("AdamW", {"amsgrad": True, "maximize": True, "weight_decay": 0.3, "eps": 1e-6}),
}
# So many steps; then weights may be away by two places of the largest.
EARLY, LATE = 10, 50


def drawn(seed: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]


def sides(name: str, groups: list[dict[str, Any]], options: dict[str, Any]) -> tuple[Any, Any, list[Any], list[Any]]:
    """Both optimizers, with the positions of parameters in groups."""
    weights = drawn(0)
    theirs = [torch.nn.Parameter(torch.from_numpy(weight.copy())) for weight in weights]
    ours = [Parameter(weight.copy(), f"p{i}") for i, weight in enumerate(weights)]
    stock, own = PAIRS[name]

    def of(parameters: list[Any]) -> list[dict[str, Any]]:
        return [{**group, "params": [parameters[i] for i in group["params"]]} for group in groups]

    return stock(of(theirs), **options), own(of(ours), numerics="torch", **options), theirs, ours


def follow(stock: Any, own: Any, theirs: list[Any], ours: list[Any]) -> None:
    """Make the same steps with both and compare what they keep after each."""
    for step in range(1, LATE + 1):
        for one, other, gradient in zip(theirs, ours, drawn(step), strict=True):
            one.grad, other.grad = torch.from_numpy(gradient.copy()), gradient
        stock.step()
        own.step()
        # Where weights pass through the moments, one place in a weight becomes one in these.
        exact = not any(group["weight_decay"] and not group["decoupled_weight_decay"] for group in stock.param_groups)
        for one, other in zip(theirs, ours, strict=True):
            kept, mine = stock.state[one], own.state[other]
            assert int(mine["step"]) == int(kept["step"]) == step
            for key in set(kept) - {"step"}:
                found = kept[key].numpy()
                if exact or step == 1:
                    np.testing.assert_array_equal(mine[key], found, err_msg=f"{key} in step {step}")
                else:
                    np.testing.assert_allclose(mine[key], found, rtol=0, atol=spacing(found))
        want = np.concatenate([one.detach().numpy().ravel() for one in theirs])
        have = np.concatenate([other.data.ravel() for other in ours])
        if step <= EARLY:
            assert np.mean(want == have) >= 0.99, f"step {step}"
        np.testing.assert_allclose(have, want, rtol=0, atol=2 * spacing(want))


def spacing(array: NDArray[Any]) -> float:
    return float(np.spacing(np.abs(array).max()))


@pytest.mark.parametrize("case", CASES)
def test_moments_in_every_bit_and_weights_to_a_place(case: str, executor: str) -> None:
    name, options = CASES[case]
    follow(*sides(name, [{"params": [0, 1, 2, 3]}], {"lr": 1e-3, **options}))


def test_groups_with_betas_of_their_own(executor: str) -> None:
    groups: list[dict[str, Any]] = [
        {"params": [0, 2], "betas": (0.8, 0.95), "weight_decay": 0.0, "lr": 2e-3},
        {"params": [1], "eps": 1e-5, "amsgrad": True, "betas": (0.95, 0.9999)},
        {"params": [3], "maximize": True},
    ]
    follow(*sides("AdamW", groups, {"lr": 1e-3}))


def test_what_the_other_numerics_do_is_not_that() -> None:
    weights, gradient = drawn(0), drawn(1)
    theirs = [torch.nn.Parameter(torch.from_numpy(weight.copy())) for weight in weights]
    ours = [Parameter(weight.copy(), f"p{i}") for i, weight in enumerate(weights)]
    stock, own = torch.optim.Adam(theirs), TorchStyleAdam(ours, numerics="mindspore")
    for step in range(3):
        for one, other, array in zip(theirs, ours, gradient, strict=True):
            moved = np.asarray(array + np.float32(step))
            one.grad, other.grad = torch.from_numpy(moved.copy()), moved
        stock.step()
        own.step()
    kept = [stock.state[one]["exp_avg"].numpy() for one in theirs]
    mine = [own.state[other]["exp_avg"] for other in ours]
    assert not all(np.array_equal(a, b) for a, b in zip(kept, mine, strict=True))
