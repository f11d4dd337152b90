"""Describe PyTorch's optimizers for `adamcompat.state`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.originals import Original, original_of
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.state import naming
from adamcompat.state.advice import some
from adamcompat.state.live import Live
from adamcompat.state.terms import StateError
from adamcompat.state.torch_styles import MORE, begin, original_like, restyled, settings_of
from adamcompat.state.torch_tensors import array_of, given_names, members, numpy_dtype, settings, tensor_of
from adamcompat.torch.optimizer import StyledAdam


@dataclass(frozen=True, slots=True)
class _Place:
    """Give access to a tensor; it is written in place, so that everybody who holds it sees that."""

    tensor: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return numpy_dtype(self.tensor)

    def read(self) -> NDArray[Any]:
        return array_of(self.tensor).copy()

    def write(self, value: NDArray[Any]) -> None:
        with torch.no_grad():
            self.tensor.copy_(tensor_of(value))


@dataclass(frozen=True, slots=True)
class _Steps:
    """Give access to the numbers of steps of all parameters.

    Attributes:
        places: the counter of each parameter.
        apart: whether they are several numbers, as those of an optimizer may be that gets another state; else one.
    """

    places: Sequence[_Place]
    apart: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.places),) if self.apart else ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.places[0].dtype

    def read(self) -> NDArray[Any]:
        found = np.array([place.read().reshape(()) for place in self.places])
        return found if self.apart else found[:1].reshape(())

    def write(self, value: NDArray[Any]) -> None:
        for place, number in zip(self.places, np.broadcast_to(value, len(self.places)), strict=True):
            place.write(number.reshape(place.shape))


def describe(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live | None:
    """Describe torch.optim.Adam, AdamW or a subclass of theirs, or one of adamcompat's classes on PyTorch's tensors.

    Parameters that never had a gradient are left out, with a UserWarning. Settings in which groups differ are left out
    with a UserWarning as well.

    Args:
        optimizer: of PyTorch, or anything else.
        parameters: see `named_parameters`.
        session: must be None.
        build: whether parameters without state get what PyTorch gives them before their first update.

    Returns:
        The description; None if `optimizer` is something else.

    Raises:
        StateError: `session` is given, `parameters` are not those of the optimizer, there is no state, or none that can
            be carried.
    """
    styled = isinstance(optimizer, StyledAdam)
    original = original_like(optimizer) if styled else original_of(type(optimizer))
    if original is None or RUNTIMES[original.runtime].framework.packages[0] != torch.__name__:
        return None
    if session is not None:
        raise StateError("session: only graphs of TensorFlow have one")
    named = named_parameters(optimizer, original, parameters)
    title = title_of(optimizer, original)
    if build and styled:
        begin(optimizer)
    elif build:
        for group in optimizer.param_groups:
            for parameter in members([group], original.dialect):
                _begin(optimizer, group, parameter, original.dialect)
    with_state = {name: one for name, one in named.items() if optimizer.state.get(one)}
    if not with_state:
        raise StateError(f"this {title} has no state yet; make a step first")
    if without := [name for name in named if name not in with_state]:
        warnings.warn(
            f"{len(without)} of {len(named)} parameters of this {title} have no state, for they never had a gradient, "
            f"and are left out: {some(without)}",
            UserWarning,
            stacklevel=4,
        )
    shared, differing = settings_of(optimizer) if styled else settings(optimizer.param_groups, original.dialect)
    if differing:
        warnings.warn(
            f"the groups of this {title} differ in {', '.join(differing)}, which a state does not hold and "
            f"loading does not compare: give the groups of the target the same values",
            UserWarning,
            stacklevel=4,
        )
    if styled:
        return of_style(optimizer, with_state)
    return live_of(optimizer, original, with_state, shared, apart=build)


def of_style(optimizer: StyledAdam, named: Mapping[str, Any]) -> Live:
    """Describe an optimizer of this package in another framework's style.

    Args:
        optimizer: on PyTorch's tensors.
        named: its tensors by name, all of which have state.

    Raises:
        StateError: the optimizer keeps something unknown, or its parameters differ in their number of steps.
    """
    shared, _ = settings_of(optimizer)
    return restyled(live_of(optimizer, original_like(optimizer), named, shared, more=MORE), optimizer)


def title_of(optimizer: Any, original: Original) -> str:
    """Return what to call an optimizer: the original, or the subclass that it is an object of.

    Args:
        optimizer: an object of the original or of a subclass.
        original: the class of PyTorch.
    """
    kind = type(optimizer)
    return original.target if kind is original.loaded() else f"{kind.__module__}.{kind.__qualname__}"


def named_parameters(optimizer: Any, original: Original, parameters: Any) -> dict[str, Any]:
    """Return the tensors of an optimizer by name.

    Args:
        optimizer: of PyTorch.
        original: the class of PyTorch that it is, or is like.
        parameters: a module, a dictionary from names to tensors, such pairs, or tensors alone, in any order; they give
            names and order. Tensors that the optimizer does not update are passed over. With None the optimizer's own
            order holds, and its names, if it was made with named parameters.

    Returns:
        Names to tensors. A tensor without a name is numbered, and one that is there twice has its first name.

    Raises:
        StateError: tensors of the optimizer are missing, two tensors have one name, or `parameters` is nothing of
            these.
    """
    own = members(optimizer.param_groups, original.dialect)
    ids = {id(one) for one in own}
    given = _pairs(parameters)
    if given is None:
        names = given_names(optimizer.param_groups)
        given = list(zip(names or [""] * len(own), own, strict=True))
    chosen = [(name, one) for name, one in given if id(one) in ids]
    if missing := ids - {id(one) for _, one in chosen}:
        raise StateError(
            f"parameters: {len(missing)} of the {len(ids)} tensors that this {title_of(optimizer, original)} updates "
            f"are not among them; pass the model, or dict(model.named_parameters())"
        )
    # A tensor that two layers share is one parameter, under its first name.
    once: dict[int, tuple[str, Any]] = {}
    for name, one in chosen:
        once.setdefault(id(one), (name, one))
    times = Counter(name for name, _ in once.values() if name)
    if twice := [name for name, count in times.items() if count > 1]:
        raise StateError(f"parameters: two tensors have one name: {some(twice)}")
    numbers = naming.numbers(len(once))
    return {name or number: one for number, (name, one) in zip(numbers, once.values(), strict=True)}


def _pairs(parameters: Any) -> list[tuple[str, Any]] | None:
    """Return the names and tensors that a caller gives; the names are empty where there are none."""
    if parameters is None:
        return None
    if isinstance(parameters, torch.nn.Module):
        return list(parameters.named_parameters())
    if isinstance(parameters, Mapping):
        return list(parameters.items())
    if isinstance(parameters, torch.Tensor) or not isinstance(parameters, Iterable):
        raise StateError(f"parameters must be a module, a dictionary or a list, got {type(parameters).__name__}")
    return [entry if isinstance(entry, tuple) else ("", entry) for entry in parameters]


def live_of(
    optimizer: Any,
    original: Original,
    named: Mapping[str, Any],
    hyperparameters: Mapping[str, Any],
    *,
    apart: bool = False,
    more: tuple[str, ...] = (),
) -> Live:
    """Describe an optimizer of which every named parameter has state.

    Args:
        optimizer: of PyTorch.
        original: the class of PyTorch that it is, or is like.
        named: the tensors by name.
        hyperparameters: canonical names to values, for all groups.
        apart: whether parameters may differ in their number of steps: it will be written, and not read.
        more: kinds of state that it may keep beside PyTorch's, under their own names.

    Returns:
        The description; its places are the optimizer's own tensors.

    Raises:
        StateError: the optimizer keeps something unknown or lacks something, or parameters differ in their number of
            steps.
    """
    dialect, title = original.dialect, title_of(optimizer, original)
    count, roles = dialect.slot("step").template, {**dialect.slot_names, **dict(zip(more, more, strict=True))}
    states = {name: optimizer.state[one] for name, one in named.items()}
    check_keys(title, {name: _without(state, more) for name, state in states.items()}, dialect)
    if not apart:
        check_steps(title, {name: int(state[count]) for name, state in states.items()})
    places = {
        role: {name: _Place(state[key]) for name, state in states.items() if key in state}
        for role, key in roles.items()
    }
    return Live(
        title=title,
        dialect=dialect.name,
        numerics=dialect.numerics,
        convention=RUNTIMES[original.runtime].framework.name,
        shapes={name: tuple(one.shape) for name, one in named.items()},
        places={"parameter": {name: _Place(one) for name, one in named.items()}}
        | {role: found for role, found in places.items() if found},
        step=_Steps([_Place(torch.as_tensor(state[count])) for state in states.values()], apart),
        hyperparameters=hyperparameters,
    )


def _without(state: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in names}


def check_keys(title: str, states: Mapping[str, Mapping[str, Any]], dialect: Dialect) -> None:
    """Refuse state that is not Adam's, or of which a part is missing.

    Args:
        title: the name of the optimizer, for messages.
        states: the optimizer's state of each parameter, by the parameter's name.
        dialect: whose names the parts of the state have.

    Raises:
        StateError: a key is unknown or missing, or only some parameters have the maximum.
    """
    optional = "maximum_second_moment"
    known = {dialect.slot("step").template, *dialect.slot_names.values()}
    needed = known - {dialect.slot_names[optional]}
    for name, state in states.items():
        if unknown := sorted(map(str, state.keys() - known)):
            raise StateError(f"{title} keeps {some(unknown)} of {name!r}, which is unknown here: it is no Adam")
        if missing := sorted(needed - state.keys()):
            raise StateError(f"{title} lacks {some(missing)} of {name!r}, which Adam keeps")
    largest = [name for name, state in states.items() if dialect.slot_names[optional] in state]
    if largest and len(largest) < len(states):
        raise StateError(
            f"{title} keeps {dialect.slot_names[optional]} of some parameters and not of others ({some(largest)}); one "
            f"kind of state is carried for all: make all groups alike"
        )


def check_steps(title: str, steps: Mapping[str, int]) -> None:
    """Refuse parameters that were not updated equally often.

    Args:
        title: the name of the optimizer, for messages.
        steps: how often each parameter was updated, by the parameter's name.

    Raises:
        StateError: the numbers of updates differ.
    """
    counts = sorted(set(steps.values()))
    if len(counts) > 1:
        parts = [f"{count} times: {some(name for name in steps if steps[name] == count)}" for count in counts]
        raise StateError(
            f"the parameters of {title} were not updated equally often ({'; '.join(parts)}), and a state has one "
            f"number of steps, on which the bias correction of all depends. Between PyTorch's optimizers state_dict() "
            f"carries them apart"
        )


def _begin(optimizer: Any, group: Mapping[str, Any], parameter: Any, dialect: Dialect) -> None:
    """Give a parameter the state that PyTorch gives it before its first update."""
    state, count = optimizer.state[parameter], dialect.slot("step").template
    if state:
        if isinstance(state.get(count), (int, float)):
            # As PyTorch reads what its older versions kept.
            state[count] = torch.tensor(float(state[count]))
        return

    def on(canonical: str) -> bool:
        fact = dialect.named(canonical)
        return fact is not None and bool(group.get(fact.name))

    # PyTorch counts on the CPU unless the kernel needs the number beside the tensors.
    device = parameter.device if on("capturable") or on("fused_kernel") else "cpu"
    wide = torch.get_default_dtype() == torch.float64 and not on("fused_kernel")
    state[count] = torch.zeros((), dtype=torch.float64 if wide else torch.float32, device=device)
    for role, key in dialect.slot_names.items():
        if role != "maximum_second_moment" or on("amsgrad"):
            state[key] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
