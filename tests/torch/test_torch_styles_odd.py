"""Styles on PyTorch's tensors, where users do what is unusual."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import adamcompat.torch as ours

STYLES = ("TFStyleAdam", "TFStyleAdamW", "MindSporeStyleAdam", "MindSporeStyleAdamWeightDecay")


def parameters_of() -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 4), (7,), ())]


def train(parameters: list[Any], optimizer: Any, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def assert_equal(mine: list[Any], theirs: list[Any]) -> None:
    for one, same in zip(mine, theirs, strict=True):
        assert torch.equal(one, same)


@pytest.mark.parametrize("style", STYLES)
def test_a_shallow_copy_shares_the_state(style: str) -> None:
    mine, theirs = parameters_of(), parameters_of()
    optimizer, other = getattr(ours, style)(mine), getattr(ours, style)(theirs)
    train(mine, optimizer, 2)
    copied = copy.copy(optimizer)
    train(theirs, other, 2)
    for seed, one in enumerate((copied, optimizer, copied), start=2):
        train(mine, one, 2, seed)
        train(theirs, other, 2, seed)
    assert_equal(mine, theirs)


@pytest.mark.parametrize("style", STYLES)
def test_numbers_of_steps_are_edited(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    train(parameters, optimizer, 2)
    for parameter in parameters:
        optimizer.state[parameter]["step"] = torch.tensor(10.0)
    train(parameters, optimizer, 1)
    assert optimizer.iterations == 11


@pytest.mark.parametrize("style", STYLES)
def test_a_parameter_gets_its_first_gradient_later(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    train(parameters[:1], optimizer, 2)
    before = [parameter.detach().clone() for parameter in parameters]
    train(parameters, optimizer, 2)
    assert not any(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))
    assert optimizer.iterations == 4


@pytest.mark.parametrize("change", ["order", "moved"])
@pytest.mark.parametrize("style", STYLES)
def test_groups_are_edited(style: str, change: str) -> None:
    made: list[Any] = []
    for edited in (True, False):
        parameters = parameters_of()
        groups = [{"params": parameters[:2], "lr": 0.01}, {"params": parameters[2:], "lr": 0.01}]
        optimizer = getattr(ours, style)(groups)
        train(parameters, optimizer, 2)
        if edited and change == "order":
            optimizer.param_groups.reverse()
        elif edited:
            optimizer.param_groups[1]["params"].append(optimizer.param_groups[0]["params"].pop())
        train(parameters, optimizer, 2, seed=2)
        made.append(parameters)
    assert_equal(*made)


@pytest.mark.parametrize("style", STYLES)
def test_a_parameter_is_transposed_where_it_lies(style: str) -> None:
    mine, theirs = parameters_of(), parameters_of()
    optimizer, other = getattr(ours, style)(mine), getattr(ours, style)(theirs)
    train(mine, optimizer, 2)
    train(theirs, other, 2)
    mine[0].data = mine[0].data.t()
    theirs[0].data = theirs[0].data.t().contiguous()
    train(mine, optimizer, 3, seed=2)
    train(theirs, other, 3, seed=2)
    assert_equal(mine, theirs)


@pytest.mark.parametrize("style", STYLES)
def test_a_backward_through_a_moment_that_changed_is_refused(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    train(parameters, optimizer, 2)
    scale = torch.ones(4, 4, requires_grad=True)
    loss = (scale * optimizer.state[parameters[0]]["exp_avg"]).sum()
    train(parameters, optimizer, 1, seed=2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_state_of_the_inference_mode_goes_on_outside() -> None:
    parameters = parameters_of()
    optimizer = ours.TFStyleAdam(parameters)
    with torch.inference_mode():
        train(parameters, optimizer, 2)
    train(parameters, optimizer, 2, seed=2)
    assert optimizer.iterations == 4


def test_parameters_of_the_inference_mode_are_updated() -> None:
    with torch.inference_mode():
        parameters = parameters_of()
        before = [parameter.clone() for parameter in parameters]
        optimizer = ours.TFStyleAdam(parameters)
        train(parameters, optimizer, 2)
    assert optimizer.iterations == 2
    assert not any(torch.equal(one, same) for one, same in zip(parameters, before, strict=True))
