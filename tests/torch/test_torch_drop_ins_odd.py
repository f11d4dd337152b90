"""Drop-ins for torch.optim.Adam and AdamW against the originals, where users do what is unusual."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import adamcompat.torch as ours

PAIRS = {"Adam": (ours.Adam, torch.optim.Adam), "AdamW": (ours.AdamW, torch.optim.AdamW)}


def parameters_of() -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 5), (7,), ())]


def give(parameters: list[Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def train(parameters: list[Any], optimizer: Any, steps: int, seed: int = 1) -> None:
    for step in range(steps):
        give(parameters, 100 * seed + step)
        optimizer.step()


def result_of(kind: Any, change: Callable[[list[Any], Any], Any], **given: Any) -> tuple[Any, ...]:
    """Return what came of a training in which something is changed: its error, its state and its parameters."""
    parameters = parameters_of()
    optimizer = kind(parameters, **given)
    train(parameters, optimizer, 3)
    error: Any = None
    try:
        change(parameters, optimizer)
        train(parameters, optimizer, 3, seed=2)
    except Exception as found:
        error = type(found), str(found)
    states = [dict(optimizer.state.get(parameter, {})) for parameter in parameters]
    return error, states, [parameter.detach().clone() for parameter in parameters]


def assert_same(name: str, change: Callable[[list[Any], Any], Any], **given: Any) -> None:
    (error, states, own), (wanted, kept, theirs) = (result_of(kind, change, **given) for kind in PAIRS[name])
    assert error == wanted
    for state, other in zip(states, kept, strict=True):
        assert state.keys() == other.keys()
        for key, value in other.items():
            if isinstance(value, torch.Tensor) and not value.is_meta:
                assert (state[key].dtype, state[key].stride()) == (value.dtype, value.stride()), key
                assert torch.allclose(state[key], value, rtol=0, atol=0, equal_nan=True), key
    for one, same in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-5, atol=1e-6, equal_nan=True)


def share(parameters: list[Any], _: Any) -> None:
    parameters[1].data = parameters[0].data.view(-1)[:7]


def twice(parameters: list[Any], optimizer: Any) -> None:
    optimizer.param_groups[0]["params"].append(parameters[1])


def cut(parameters: list[Any], _: Any) -> None:
    parameters[0].data = parameters[0].data[:5]


def of_itself(parameters: list[Any], optimizer: Any) -> None:
    parameters[0].grad = parameters[0].detach()
    parameters[1].grad = optimizer.state[parameters[1]]["exp_avg"]
    optimizer.step()


def within_another(of: Callable[[Any, Any], Any]) -> Callable[[list[Any], Any], None]:
    """Let a gradient lie within what is updated before its parameter is."""

    def give_it(parameters: list[Any], optimizer: Any) -> None:
        give(parameters, 9)
        parameters[1].grad = of(parameters[0], optimizer.state[parameters[0]]).detach().view(-1)[3:10]
        optimizer.step()

    return give_it


def nothing_written(parameters: list[Any], optimizer: Any) -> None:
    for parameter in parameters:
        parameter.grad = torch._efficientzerotensor(parameter.shape)
    optimizer.step()


def where_it_lies(key: str, change: Callable[[Any], Any]) -> Callable[[list[Any], Any], None]:
    """Exchange what a tensor of the state is, which stays the same object."""

    def put(parameters: list[Any], optimizer: Any) -> None:
        kept = optimizer.state[parameters[0]][key]
        kept.data = change(kept.data)

    return put


def negate(parameters: list[Any], _: Any) -> None:
    parameters[0].data = torch._neg_view(parameters[0].data)


def of_another_dtype(parameters: list[Any], optimizer: Any) -> None:
    if not hasattr(parameters[0], "grad_dtype"):
        pytest.skip("this PyTorch lets no gradient have another dtype")
    parameters[0].grad = None
    parameters[0].grad_dtype = None
    parameters[0].grad = torch.ones(6, 5, dtype=torch.float64)
    optimizer.step()


def state_of(key: str, change: Callable[[Any], Any]) -> Callable[[list[Any], Any], None]:
    def put(parameters: list[Any], optimizer: Any) -> None:
        state = optimizer.state[parameters[0]]
        state[key] = change(state[key])

    return put


def one_moment(parameters: list[Any], optimizer: Any) -> None:
    state = optimizer.state[parameters[0]]
    state["exp_avg_sq"] = state["exp_avg"]


def setting(**settings: Any) -> Callable[[list[Any], Any], None]:
    return lambda _, optimizer: optimizer.param_groups[0].update(settings)


CHANGES: dict[str, Callable[[list[Any], Any], Any]] = {
    "shared memory": share,
    "a parameter twice": twice,
    "a parameter cut": cut,
    "a gradient that is the parameter": of_itself,
    "a gradient within a parameter": within_another(lambda parameter, _: parameter),
    "a gradient within a moment": within_another(lambda _, state: state["exp_avg"]),
    "a gradient without memory": nothing_written,
    "a gradient of another dtype": of_another_dtype,
    "a parameter negated where it lies": negate,
    "a moment negated where it lies": where_it_lies("exp_avg", torch._neg_view),
    "a moment of another shape where it lies": where_it_lies("exp_avg_sq", lambda one: one.view(5, 6)),
    "steps moved": where_it_lies("step", lambda _: torch.tensor(9.0)),
    "steps in integers where they lie": where_it_lies("step", lambda one: one.view(torch.int32)),
    "a moment twice": one_moment,
    "moment in half precision": state_of("exp_avg_sq", lambda one: one.bfloat16()),
    "moment in other order": state_of("exp_avg", lambda one: one.t().contiguous().t()),
    "moment of another shape": state_of("exp_avg", lambda one: one[:1]),
    "moment expanded": state_of("exp_avg", lambda one: one[:1].expand(6, 5)),
    "moment negated": state_of("exp_avg", torch._neg_view),
    "moment of none": state_of("exp_avg", lambda _: None),
    "steps in a vector": state_of("step", lambda _: torch.tensor([10.0])),
    "half a step": state_of("step", lambda _: torch.tensor(2.5)),
    "steps below 0": state_of("step", lambda _: torch.tensor(-1.0)),
    "steps in half precision": state_of("step", lambda _: torch.tensor(10.0, dtype=torch.bfloat16)),
    "steps in double precision": state_of("step", lambda one: one.double()),
    "steps without end": state_of("step", lambda _: torch.tensor(float("inf"))),
    "steps as a number": state_of("step", lambda _: 10),
    "betas of float32": setting(betas=(np.float32(0.5), np.float32(0.9))),
    "betas in a list of tensors": setting(betas=[torch.tensor(0.5), torch.tensor(0.9)]),
    "a rate of float32": setting(lr=np.float32(0.01)),
    "decay of the other kind": setting(decoupled_weight_decay=False, weight_decay=0.1),
    "no betas": lambda _, optimizer: optimizer.param_groups[0].pop("betas"),
    "no maximize": lambda _, optimizer: optimizer.param_groups[0].pop("maximize"),
    "a scale": lambda _, optimizer: setattr(optimizer, "grad_scale", torch.tensor(2.0)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", PAIRS)
def test_what_is_odd_is_the_originals(name: str, change: str) -> None:
    assert_same(name, CHANGES[change])


@pytest.mark.parametrize("name", PAIRS)
def test_a_saved_state_goes_on_as_the_originals_does(name: str) -> None:
    found = []
    for kind in PAIRS[name]:
        parameters, others = parameters_of(), parameters_of()
        optimizer, other = kind(parameters), kind(others)
        train(parameters, optimizer, 1)
        saved = optimizer.state_dict()
        train(parameters, optimizer, 4, seed=2)
        other.load_state_dict(saved)
        # PyTorch shares the tensors of a state that is not copied.
        train(others, other, 3, seed=3)
        train(parameters, optimizer, 1, seed=4)
        copied = copy.copy(optimizer)
        train(parameters, copied, 3, seed=5)
        train(parameters, optimizer, 1, seed=6)
        states = [saved["state"][0], optimizer.state[parameters[0]], other.state[others[0]]]
        found.append([float(state["step"]) for state in states])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", PAIRS)
def test_a_backward_through_a_moment_that_changed_is_refused(name: str) -> None:
    for kind in PAIRS[name]:
        parameters = parameters_of()
        optimizer = kind(parameters)
        train(parameters, optimizer, 3)
        scale = torch.ones(6, 5, requires_grad=True)
        loss = (scale * optimizer.state[parameters[0]]["exp_avg"]).sum()
        train(parameters, optimizer, 1, seed=2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("name", PAIRS)
def test_inference_mode_steps(name: str) -> None:
    with torch.inference_mode():
        parameters = parameters_of()
        optimizer = PAIRS[name][0](parameters)
        train(parameters, optimizer, 4)
        assert int(optimizer.state[parameters[0]]["step"]) == 4


class Counting(TorchDispatchMode):  # type: ignore[misc]
    """Count the operations of PyTorch."""

    seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Watched(torch.Tensor):  # type: ignore[misc]
    """A tensor that counts what is done with it."""

    seen = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Watched.seen += 1
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("name", PAIRS)
def test_who_watches_operations_sees_the_originals(name: str) -> None:
    counts = []
    for kind in PAIRS[name]:
        parameters = parameters_of()
        optimizer = kind(parameters)
        train(parameters, optimizer, 3)
        give(parameters, 1)
        with Counting() as mode:
            optimizer.step()
        own = torch.nn.Parameter(torch.ones(3).as_subclass(Watched))
        watched = kind([own])
        for _ in range(3):
            own.grad = torch.ones(3)
            before = Watched.seen
            watched.step()
        counts.append((mode.seen > 20, Watched.seen - before > 20))
    assert counts[0] == counts[1] == (True, counts[1][1])


def test_what_an_object_overrides_is_called() -> None:
    parameters, asked = parameters_of(), []
    optimizer = ours.Adam(parameters)
    theirs = optimizer._init_group

    def init_group(*given: Any) -> Any:
        asked.append(1)
        return theirs(*given)

    optimizer._init_group = init_group
    train(parameters, optimizer, 4)
    assert len(asked) == 4


@pytest.mark.parametrize("name", PAIRS)
def test_memory_is_freed_without_the_garbage_collector(name: str) -> None:
    gc.collect()
    gc.disable()
    try:
        parameters = parameters_of()
        optimizer = PAIRS[name][0](parameters)
        train(parameters, optimizer, 4)
        kept = [weakref.ref(parameters[0]), weakref.ref(optimizer.state[parameters[0]]["exp_avg"])]
        del optimizer, parameters
        assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()


def test_steps_in_shared_memory_stay_there() -> None:
    parameters = parameters_of()
    optimizer = ours.Adam(parameters)
    train(parameters, optimizer, 1)
    for parameter in parameters:
        optimizer.state[parameter]["step"].share_memory_()
    train(parameters, optimizer, 3, seed=2)
    assert all(optimizer.state[parameter]["step"].is_shared() for parameter in parameters)


def exchange(parameters: list[Any], optimizer: Any) -> None:
    """Give each of two parameters the other's state; in their order the dictionaries stay as they are."""
    one, other = (optimizer.state.pop(parameter) for parameter in parameters)
    optimizer.state[parameters[1]] = one
    optimizer.state[parameters[0]] = other


def resize(parameters: list[Any], optimizer: Any) -> None:
    """Free memory and ask for it again, as is done where several models share an accelerator."""
    for tensor in (parameters[0].data, optimizer.state[parameters[0]]["exp_avg"]):
        kept = tensor.clone()
        tensor.untyped_storage().resize_(0)
        tensor.untyped_storage().resize_(kept.nbytes)
        tensor.copy_(kept)


@pytest.mark.parametrize("change", [exchange, resize])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "TFStyleAdam", "MindSporeStyleAdamWeightDecay"])
def test_state_is_the_parameters_and_memory_is_the_tensors(name: str, change: Callable[[list[Any], Any], None]) -> None:
    # A style has no original: its second training loads its state into another optimizer after the change.
    kinds = PAIRS.get(name, (getattr(ours, name),) * 2)
    found = []
    for number, kind in enumerate(kinds):
        parameters = [torch.nn.Parameter(torch.linspace(-1, 1, 12)), torch.nn.Parameter(torch.linspace(2, 3, 12))]
        optimizer = kind(parameters, 0.1)
        train(parameters, optimizer, 3)
        change(parameters, optimizer)
        if name not in PAIRS and number:
            saved = optimizer.state_dict()
            optimizer = kind(parameters, 0.1)
            optimizer.load_state_dict(saved)
        train(parameters, optimizer, 3, seed=2)
        found.append([parameter.detach() for parameter in parameters])
    for one, same in zip(*found, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "TFStyleAdam", "MindSporeStyleAdam"])
def test_threads_that_share_an_optimizer_lose_no_step(name: str) -> None:
    parameter = torch.nn.Parameter(torch.ones(200_000))
    parameter.grad = torch.ones(200_000)
    optimizer = getattr(ours, name)([parameter], 1e-4)
    optimizer.step()
    threads = [threading.Thread(target=lambda: [optimizer.step() for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert float(optimizer.state[parameter]["step"]) == 121


@pytest.mark.parametrize("name", ["Adam", "TFStyleAdam"])
def test_what_a_step_stands_on_is_made_once(name: str) -> None:
    parameters = parameters_of()
    optimizer: Any = getattr(ours, name)(parameters)
    train(parameters, optimizer, 3)

    def held() -> Any:
        return optimizer._known[0].cohorts[0].held if name == "Adam" else optimizer._steps[0][2]

    first = held()
    train(parameters, optimizer, 3, seed=2)
    assert held() is first
    # So would each step find something changed.
    parameters[0].data = parameters[0].data.clone()
    train(parameters, optimizer, 1, seed=3)
    assert held() is not first


class Everything:
    """Let an optimizer's whole dictionary be copied, as subclasses of users do."""

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "TFStyleAdam", "MindSporeStyleAdam"])
def test_a_subclass_may_copy_its_whole_dictionary(name: str) -> None:
    kind = type("Whole", (Everything, getattr(ours, name)), {})
    parameters, others = parameters_of(), parameters_of()
    optimizer, other = kind(parameters), getattr(ours, name)(others)
    train(parameters, optimizer, 4)
    train(others, other, 4)
    parameters, optimizer = copy.deepcopy((parameters, optimizer))
    train(parameters, optimizer, 3, seed=2)
    train(others, other, 3, seed=2)
    for one, same in zip(parameters, others, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["TFStyleAdam", "MindSporeStyleAdam"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_gradient_whose_memory_is_gone_is_refused(name: str, transposed: bool) -> None:
    parameter = torch.nn.Parameter(torch.ones(300, 200))
    optimizer = getattr(ours, name)([parameter])
    for gone in (False, False, True):
        gradient = torch.ones(200, 300).t() if transposed else torch.ones(300, 200)
        if gone:
            gradient.untyped_storage().resize_(0)
        parameter.grad = gradient
        before = parameter.detach().clone()
        if not gone:
            optimizer.step()
            continue
        with pytest.raises(RuntimeError, match="has no memory"):
            optimizer.step()
        assert torch.equal(parameter, before)
    assert optimizer.iterations == 2


@pytest.mark.parametrize("steps", [-3.0, 2.5, float("nan"), float("inf")])
def test_a_number_of_steps_that_is_none_is_refused(steps: float) -> None:
    parameters = parameters_of()
    optimizer = ours.TFStyleAdam(parameters)
    train(parameters, optimizer, 2)
    saved = optimizer.state_dict()
    for own in saved["state"].values():
        own["step"] = torch.tensor(steps)
    with pytest.raises(ValueError, match="a whole number of at least 0, got"):
        optimizer.load_state_dict(saved)
    train(parameters, optimizer, 1)
    assert optimizer.iterations == 3
