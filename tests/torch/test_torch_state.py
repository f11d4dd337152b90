"""State in and out of PyTorch's optimizers: what moves, what is said, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import adamcompat
from adamcompat import Parameter, TorchStyleAdam, TorchStyleAdamW
from adamcompat.state import AdamState, StateError

KINDS: dict[str, Any] = {"torch": torch.optim.Adam, "torch_adamw": torch.optim.AdamW}


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, seed: int = 0, dtype: Any = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.out = torch.nn.Linear(4, 2)
        self.to(dtype)

    def forward(self, x: Any) -> Any:
        return self.out(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


NAMES = ("conv.weight", "conv.bias", "norm.weight", "norm.bias", "out.weight", "out.bias")


def train(net: Any, optimizer: Any, steps: int, seed: int = 1, only: Sequence[str] = NAMES) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for name, parameter in net.named_parameters():
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = gradient.to(parameter.dtype) if name in only else None
        optimizer.step()


def values(net: Any) -> list[Any]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"fused": True}, {"foreach": True}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_another_optimizer_goes_on_bit_for_bit(kind: str, options: dict[str, Any], dtype: str) -> None:
    net, other = Net(dtype=getattr(torch, dtype)), Net(7, getattr(torch, dtype))
    old, new = (KINDS[kind](one.parameters(), 0.01, **options) for one in (net, other))
    train(net, old, 5)
    state = AdamState.of(old, net)
    assert (state.step, state.names, state.dialect, state.convention) == (5, NAMES, kind, "torch")
    matching = state.load_into(new, parameters=other, with_parameters=True)
    assert {str(pair.transform) for pair in matching.pairs} == {"same"}
    for saved, loaded in zip(old.state_dict()["state"].values(), new.state_dict()["state"].values(), strict=True):
        assert saved.keys() == loaded.keys()
        assert same([*saved.values()], [*loaded.values()])
    train(net, old, 5, seed=2)
    train(other, new, 5, seed=2)
    assert same(values(net), values(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_begun_is_what_pytorch_begins(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyTorch counts in the default dtype, where that is a wide one.
    monkeypatch.setattr(torch, "get_default_dtype", lambda: dtype)
    for options in ({}, {"amsgrad": True}, {"fused": True}):
        net, other = Net(), Net()
        old, new = (torch.optim.Adam(one.parameters(), **options) for one in (net, other))
        train(net, old, 1)
        AdamState.of(old, net).match(new, parameters=other)
        for made, begun in zip(old.state.values(), new.state.values(), strict=True):
            assert {key: (t.dtype, t.shape, t.device) for key, t in made.items()} == {
                key: (t.dtype, t.shape, t.device) for key, t in begun.items()
            }
            assert not any(t.any() for t in begun.values())


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_goes_on(kind: str) -> None:
    net = Net()
    old = KINDS[kind](net.parameters(), 0.01)
    train(net, old, 5)
    state = AdamState.of(old, net)
    weights = [Parameter(parameter.detach().numpy().copy(), name) for name, parameter in net.named_parameters()]
    style = {"torch": TorchStyleAdam, "torch_adamw": TorchStyleAdamW}[kind]
    numpy = style(weights, 0.01, numerics="torch")
    state.load_into(numpy)
    assert [int(kept["step"]) for kept in numpy.state.values()] == [5] * 6
    train(net, old, 1, seed=2)
    generator = torch.Generator().manual_seed(2)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator).numpy()
    numpy.step()
    for weight, parameter, kept in zip(weights, net.parameters(), numpy.state.values(), strict=True):
        np.testing.assert_array_equal(kept["exp_avg"], old.state[parameter]["exp_avg"])
        np.testing.assert_array_equal(kept["exp_avg_sq"], old.state[parameter]["exp_avg_sq"])
        np.testing.assert_allclose(weight.data, parameter.detach(), rtol=0, atol=2 * np.spacing(np.float32(1)))
    # And back, with what the step there has changed.
    fresh = Net(9)
    new = KINDS[kind](fresh.parameters(), 0.01)
    AdamState.of(numpy).load_into(new, parameters=fresh, with_parameters=True)
    assert [int(kept["step"]) for kept in new.state.values()] == [6] * 6
    assert all(
        np.array_equal(weight.data, parameter.detach())
        for weight, parameter in zip(weights, fresh.parameters(), strict=True)
    )


def test_names_come_from_the_model_or_from_the_optimizer() -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, 1)
    assert AdamState.of(optimizer).names == tuple(f"parameter#{i}" for i in range(6))
    for parameters in (net, dict(net.named_parameters()), net.named_parameters()):
        assert AdamState.of(optimizer, parameters).names == NAMES
    named = torch.optim.Adam(net.named_parameters())
    named.load_state_dict(optimizer.state_dict())
    assert AdamState.of(named).names == NAMES
    # Groups order parameters otherwise than the model, whose order counts.
    decayed = [one for one in net.parameters() if one.ndim > 1]
    plain = [one for one in net.parameters() if one.ndim == 1]
    grouped = torch.optim.AdamW([{"params": decayed}, {"params": plain}])
    train(net, grouped, 1)
    assert AdamState.of(grouped, net).names == NAMES
    more = {**dict(net.named_parameters()), "head.weight": torch.nn.Parameter(torch.ones(2))}
    assert AdamState.of(grouped, more).names == NAMES, "a tensor that the optimizer does not update is passed over"
    with pytest.raises(StateError, match=r"parameters: 5 of the 6 tensors .*; pass the model"):
        AdamState.of(grouped, [net.conv.weight])
    with pytest.raises(StateError, match="two tensors have one name: a"):
        AdamState.of(grouped, [("a", one) for one in net.parameters()])
    with pytest.raises(StateError, match="parameters must be a module, a dictionary or a list, got Parameter"):
        AdamState.of(grouped, net.conv.weight)


def test_tied_parameters_are_one() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    optimizer = torch.optim.Adam(net.parameters())
    net[0].weight.grad = torch.ones(3, 3)
    optimizer.step()
    assert AdamState.of(optimizer, net.named_parameters(remove_duplicate=False)).names == ("0.weight",)


def test_parameters_without_state_are_left_out_and_named() -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(StateError, match=r"this torch\.optim\.Adam has no state yet; make a step first"):
        AdamState.of(optimizer, net)
    train(net, optimizer, 2, only=NAMES[2:])
    with pytest.warns(UserWarning, match=r"2 of 6 parameters .* left out: conv\.weight, conv\.bias"):
        state = AdamState.of(optimizer, net)
    assert state.names == NAMES[2:]


def test_other_numbers_of_steps_are_refused_with_the_parameters() -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, 2, only=NAMES[2:])
    train(net, optimizer, 1)
    said = r"not updated equally often \(1 times: conv\.weight, conv\.bias; 3 times: norm\.weight, .*state_dict\(\)"
    with pytest.raises(StateError, match=said):
        AdamState.of(optimizer, net)


def test_a_target_whose_parameters_differ_in_steps_gets_one_number_or_keeps_its_own() -> None:
    net, other = Net(), Net(3)
    old, new = torch.optim.Adam(net.parameters()), torch.optim.Adam(other.parameters())
    train(net, old, 4)
    train(other, new, 2, only=NAMES[2:])
    train(other, new, 1)
    steps = [int(kept["step"]) for kept in new.state.values()]
    assert set(steps) == {1, 3}
    wrong = replace(
        AdamState.of(old, net), parameters={name: np.full(s, 1e39) for name, s in AdamState.of(old, net).shapes.items()}
    )
    with pytest.raises(StateError, match="values are too large for float32"):
        wrong.load_into(new, parameters=other, with_parameters=True, cast=True)
    assert [int(kept["step"]) for kept in new.state.values()] == steps
    AdamState.of(old, net).load_into(new, parameters=other)
    assert {int(kept["step"]) for kept in new.state.values()} == {4}


def test_groups_that_differ_are_said() -> None:
    net = Net()
    groups = [{"params": [net.conv.weight, net.out.weight], "weight_decay": 0.1}, {"params": [net.out.bias]}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.8, 0.99))
    for group in optimizer.param_groups:
        for one in group["params"]:
            one.grad = torch.ones_like(one)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"groups .* differ in decoupled_weight_decay, which a state does not hold"):
        state = AdamState.of(optimizer, net)
    assert (state.hyperparameters["beta1"], "decoupled_weight_decay" in state.hyperparameters) == (0.8, False)
    optimizer.param_groups[1]["amsgrad"] = True
    optimizer.state[net.out.bias]["max_exp_avg_sq"] = torch.zeros(2)
    with warnings.catch_warnings(), pytest.raises(StateError, match=r"of some parameters and not of others \(out\.b"):
        warnings.simplefilter("ignore")
        AdamState.of(optimizer, net)


def test_a_decay_that_is_switched_is_named_by_what_it_is() -> None:
    net = Net()
    switched = torch.optim.Adam(net.parameters(), weight_decay=0.1, decoupled_weight_decay=True)
    train(net, switched, 1)
    facts = AdamState.of(switched, net).hyperparameters
    assert (facts["decoupled_weight_decay"], facts["l2_weight_decay"]) == (0.1, 0.0)
    other = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AdamState.of(switched, net).load_into(other, parameters=net)
    plain = torch.optim.Adam(net.parameters(), weight_decay=0.1)
    with pytest.warns(UserWarning, match=r"l2_weight_decay 0\.1 instead of 0\.0; decoupled_weight_decay 0\.0 instead"):
        AdamState.of(switched, net).load_into(plain, parameters=net)


def test_another_form_of_epsilon_and_another_decay_are_said() -> None:
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    train(net, optimizer, 1)
    weights = [Parameter(one.detach().numpy().copy(), name) for name, one in net.named_parameters()]
    with pytest.warns(UserWarning) as caught:
        AdamState.of(optimizer, net).load_into(adamcompat.MindSporeStyleAdam(weights))
    said = " ".join(str(one.message) for one in caught)
    assert "decoupled_weight_decay 0.0 instead of 0.05" in said
    assert "epsilon of the form hat instead of paper" in said


def test_half_precision() -> None:
    pytest.importorskip("ml_dtypes")
    for dtype in (torch.float16, torch.bfloat16):
        net, other = Net(dtype=dtype), Net(5, dtype)
        old, new = torch.optim.Adam(net.parameters()), torch.optim.Adam(other.parameters())
        train(net, old, 3)
        state = AdamState.of(old, net)
        assert {str(one.dtype) for one in state.first_moment.values()} == {str(dtype).removeprefix("torch.")}
        state.load_into(new, parameters=other, with_parameters=True)
        assert same(values(net), values(other))
        for a, b in zip(old.state.values(), new.state.values(), strict=True):
            assert same([*a.values()], [*b.values()])


def test_numbers_in_tensors_and_subclasses() -> None:
    class Mine(torch.optim.AdamW):  # type: ignore[misc]
        pass

    net = Net()
    optimizer = Mine(net.parameters(), lr=torch.tensor(0.25), foreach=False)
    train(net, optimizer, 1)
    state = AdamState.of(optimizer, net)
    assert (state.dialect, state.hyperparameters["learning_rate"]) == ("torch_adamw", 0.25)


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.RAdam, torch.optim.SGD])
def test_other_optimizers_are_refused(kind: Any) -> None:
    net = Net()
    with pytest.raises(StateError, match=r"expected .*torch\.optim\.AdamW.*; got torch\.optim\."):
        AdamState.of(kind(net.parameters(), 0.1), net)
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, 1)
    with pytest.raises(StateError, match="only graphs of TensorFlow have one"):
        AdamState.of(optimizer, net, session=object())
    optimizer.state[net.out.bias]["momentum_buffer"] = torch.ones(2)
    with pytest.raises(StateError, match=r"keeps momentum_buffer of 'out\.bias', which is unknown here"):
        AdamState.of(optimizer, net)
    del optimizer.state[net.out.bias]["momentum_buffer"], optimizer.state[net.out.bias]["exp_avg"]
    with pytest.raises(StateError, match=r"lacks exp_avg of 'out\.bias'"):
        AdamState.of(optimizer, net)


def test_a_step_that_its_counter_cannot_count_is_refused() -> None:
    net, other = Net(), Net(3)
    optimizer = torch.optim.Adam(net.parameters())
    train(net, optimizer, 1)
    for one in optimizer.state.values():
        one["step"] = torch.tensor(2.0**24 + 2, dtype=torch.float64)
    new = torch.optim.Adam(other.parameters())
    before = values(other)
    with pytest.raises(StateError, match=r"step 16777218 does not fit the counter of the torch\.optim\.Adam"):
        AdamState.of(optimizer, net).load_into(new, parameters=other, with_parameters=True)
    assert same(values(other), before)
