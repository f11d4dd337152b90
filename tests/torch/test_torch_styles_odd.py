"""Styles on PyTorch's tensors, where users do what is unusual."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

import adamcompat.torch as ours
from adamcompat.torch.looks import alike

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


class Fresh(torch.nn.Parameter):  # type: ignore[misc]
    """A parameter that computes its gradient whenever it is asked, and keeps none."""

    @property
    def grad(self) -> Any:
        return torch.linspace(-1, 2, self.numel()).reshape(self.shape)

    @grad.setter
    def grad(self, _: Any) -> None:
        raise AttributeError("a gradient is computed")


@pytest.mark.parametrize("name", ["Adam", *STYLES])
def test_gradients_that_nobody_else_holds_are_held_until_all_is_written(name: str) -> None:
    found = []
    for kind in (Fresh, torch.nn.Parameter):
        parameters = [kind(one.detach()) for one in parameters_of()[:2]]
        optimizer = getattr(ours, name)(parameters)
        for _ in range(4):
            if kind is not Fresh:
                for parameter in parameters:
                    parameter.grad = torch.linspace(-1, 2, parameter.numel()).reshape(parameter.shape)
            optimizer.step()
        found.append([parameter.detach() for parameter in parameters])
    assert_equal(*found)


@pytest.mark.parametrize("style", STYLES)
def test_a_first_step_that_is_refused_leaves_no_state(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    good, wrong = torch.ones(4, 4), torch.ones(3)
    for first in ([(good, parameters[0]), (wrong, parameters[1])], [(wrong, parameters[1])]):
        with pytest.raises(ValueError, match="shape"):
            optimizer.apply_gradients(first)
        assert (dict(optimizer.state), optimizer.iterations) == ({}, 0)
    if style.startswith("TF"):
        # It decides which state there is, and there is none.
        optimizer.param_groups[0]["amsgrad"] = True
    optimizer.apply_gradients([(good, parameters[0])])
    kept = dict(optimizer.state[parameters[0]])
    with pytest.raises(ValueError, match="shape"):
        optimizer.apply_gradients([(good, parameters[0]), (wrong, parameters[1])])
    assert list(optimizer.state) == [parameters[0]]
    assert optimizer.state[parameters[0]] == kept
    assert optimizer.iterations == 1
    train(parameters, optimizer, 1)
    assert optimizer.iterations == 2


@pytest.mark.parametrize("style", ["MindSporeStyleAdam", "MindSporeStyleAdamWeightDecay"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_is_called_as_mindspores_optimizers_are(way: str, grouped: bool, style: str) -> None:
    parameters = parameters_of()
    groups = [{"params": parameters[1:]}, {"params": parameters[:1]}, {"order_params": parameters}]
    optimizer = getattr(ours, style)(groups if grouped else parameters, weight_decay=0.1)
    pairs = (parameters, optimizer)
    copied, other = copy.deepcopy(pairs) if way == "deepcopy" else pickle.loads(pickle.dumps(pairs))
    for mine, one in ((parameters, optimizer), (copied, other)):
        for number in range(2):
            one(tuple(torch.full_like(parameter, number + 1.0).detach() for parameter in mine))
    assert_equal(parameters, copied)
    assert other._decays("norm.beta") == optimizer._decays("norm.beta") == grouped


@pytest.mark.parametrize("style", STYLES)
def test_a_state_that_does_not_fit_is_refused_and_leaves_the_rest(style: str) -> None:
    parameters, others = parameters_of()[:2], parameters_of()[:2]
    optimizer, other = (getattr(ours, style)([{"params": [one]} for one in own], 0.1) for own in (parameters, others))
    train(parameters, optimizer, 3)
    train(others, other, 3)
    kept = optimizer.state[parameters[1]]["exp_avg"]
    optimizer.state[parameters[1]]["exp_avg"] = torch.zeros(3)
    with pytest.raises(ValueError, match="exp_avg"):
        train(parameters, optimizer, 1)
    optimizer.state[parameters[1]]["exp_avg"] = kept
    train(parameters, optimizer, 3, seed=2)
    train(others, other, 3, seed=2)
    assert_equal(parameters, others)
    assert [int(optimizer.state[one]["step"]) for one in parameters] == [6, 6]
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("style", STYLES)
def test_parameters_have_gradients_by_turns(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    for number in range(6):
        chosen = number % 3
        before = [(one.detach().clone(), one._version) for one in parameters]
        for parameter in parameters:
            parameter.grad = None
        parameters[chosen].grad = torch.ones_like(parameters[chosen]).detach()
        optimizer.step()
        for place, (one, (old, version)) in enumerate(zip(parameters, before, strict=True)):
            assert torch.equal(one, old) == (place != chosen)
            assert (one._version > version) == (place == chosen)


@pytest.mark.parametrize("style", STYLES)
def test_state_that_was_emptied_is_made_anew(style: str) -> None:
    parameters = parameters_of()
    optimizer = getattr(ours, style)(parameters)
    train(parameters, optimizer, 2)
    optimizer.state[parameters[0]].clear()
    train(parameters, optimizer, 1, seed=2)
    assert optimizer.iterations == 3
    assert optimizer.state[parameters[0]]["exp_avg"].shape == (4, 4)
    assert (optimizer.state[parameters[0]]["exp_avg"] != 0).all()


def test_a_key_error_of_a_schedule_is_the_users() -> None:
    calls = []

    def rate() -> float:
        calls.append(True)
        raise KeyError("mine")

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.TFStyleAdam([parameter], rate)
    parameter.grad = torch.ones(3)
    calls.clear()
    with pytest.raises(KeyError, match="mine"):
        optimizer.step()
    assert len(calls) == 1


LOOKS = {
    "same": lambda one: one.clone(),
    "dtype": lambda one: one.double(),
    "shape": lambda one: one[:1],
    "strides": lambda one: one.t(),
    "requires a gradient": lambda one: one.clone().requires_grad_(),
    "type": torch.nn.Parameter,
    "device": lambda one: one.to("meta"),
    "negated": torch._neg_view,
    "zeros": lambda one: torch._efficientzerotensor(one.shape),
    "sparse": lambda one: one.to_sparse(),
    "no tensor": lambda one: one.numpy(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_python_and_pytorch_see_the_same_looks(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = torch.arange(9.0).reshape(3, 3)
    found = [alike([known])(LOOKS[look](known))]
    monkeypatch.delattr(torch._C._dynamo.guards, "TensorGuards", raising=False)
    found.append(alike([known])(LOOKS[look](known)))
    assert found == [look == "same"] * 2
