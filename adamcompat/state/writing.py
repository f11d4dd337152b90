"""Set an optimizer to a state: everything is checked first and written then, or taken back."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.interrupts import Uninterrupted
from adamcompat.kernel import running_product
from adamcompat.mapping.model import Dialect, Semantics
from adamcompat.mapping.tables import MAPPING
from adamcompat.state.live import Live, Place, refuse_partial
from adamcompat.state.matching import Matching, Pair
from adamcompat.state.pairing import pieces_for, put_together, shape_of
from adamcompat.state.terms import StateError, Tensors

if TYPE_CHECKING:
    from adamcompat.state.model import AdamState

Array = NDArray[Any]

# Roles whose tensors are there only with an option, and how the option is called.
_OPTIONAL = {"maximum_second_moment": "amsgrad", "average": "use_ema"}
# Hyperparameters that decide how the moments are read; the learning rate is everybody's own affair.
_COMPARED = ("beta1", "beta2", "epsilon", "nesterov", "l2_weight_decay", "decoupled_weight_decay")


@dataclass(slots=True)
class _Plan:
    """Hold what will be written: places with functions that make their new elements."""

    entries: list[tuple[str, Place, Callable[[], Array]]] = field(default_factory=list)

    def add(self, label: str, place: Place, make: Callable[[], Any]) -> None:
        self.entries.append((label, place, make))

    def carry_out(self) -> None:
        """Write everything; if something fails, write back what was there."""
        written: list[tuple[Place, Array]] = []
        with Uninterrupted():
            try:
                for label, place, make in self.entries:
                    value = _fitted(label, make(), place)
                    written.append((place, place.read()))
                    place.write(value)
            except BaseException:
                for place, old in reversed(written):
                    place.write(old)
                raise


def restore(live: Live, state: AdamState, matching: Matching, *, with_parameters: bool, cast: bool) -> None:
    """Set an optimizer to a state; on any error it is as it was.

    Running products of the betas are formed anew, with the optimizer's own betas. Where its hyperparameters differ from
    those that the state came from, a UserWarning says so; each note of the matching is a UserWarning as well.

    Args:
        live: the optimizer.
        state: the state.
        matching: which parameter of the state becomes which of the optimizer, in which layout.
        with_parameters: whether the parameters are set, too.
        cast: whether values may be rounded to a narrower dtype.

    Raises:
        StateError: the matching is not for this state and this optimizer; the optimizer keeps what the state lacks, or
            the other way round; the state is in the middle of an accumulation that the optimizer does not have; or a
            number or value does not fit its dtype.
    """
    refuse_partial(live)
    _check_matching(live, state, matching)
    plan, pairs = _Plan(), matching.of_targets
    for role, places in live.places.items():
        if role == "parameter" and not with_parameters:
            continue
        for name, place in places.items():
            label = f"{role} of {name!r}"
            if name in pairs:
                _plan_tensor(plan, label, place, _source(live, state, role), role, pairs[name], cast)
            elif role != "parameter":
                _plan_alone(plan, label, live, role, name)
    if with_parameters and "parameter" not in live.places:
        raise StateError(f"with_parameters: the {live.title} does not hold its parameters; pass parameters=...")
    for role, option in _OPTIONAL.items():
        if role in state.tensors and role not in live.places:
            raise StateError(
                f"the state has {role}, which the {live.title} does not keep; make it with {_native(live, option)}, or "
                f"leave it out: dataclasses.replace(state, {role}=None)"
            )
    _plan_step(plan, live, state)
    _warn_of_differences(live, state)
    for note in matching.notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    plan.carry_out()
    live.loaded()


def _check_matching(live: Live, state: AdamState, matching: Matching) -> None:
    ours = [(pair.source, pair.source_part, pair.transform.source) for pair in matching.pairs]
    theirs = [(pair.target, pair.target_part, pair.transform.shape) for pair in matching.pairs]
    for what, pairs, alone, shapes in (
        ("state", ours, matching.source_alone, state.shapes),
        ("optimizer", theirs, matching.target_alone, dict(live.shapes)),
    ):
        plain = [entry for entry, pair in zip(pairs, matching.pairs, strict=True) if not pair.addend]
        names = {name for name, _, _ in pairs} | {name for name, _ in alone}
        if names != set(shapes):
            odd = sorted(names ^ set(shapes))
            raise StateError(f"the matching is not for the parameters of this {what}: {', '.join(odd[:5])}")
        twice = [name for (name, _), times in Counter((name, part) for name, part, _ in plain).items() if times > 1]
        if twice:
            raise StateError(f"the matching has {twice[0]!r} twice, in a {what} that has it once")
        for name, part, shape in [*pairs, *((name, None, shape) for name, shape in alone)]:
            if shape_of(tuple(shapes[name]), part) != shape:
                raise StateError(
                    f"the matching has {name!r} in shape {shape}, this {what} in {shape_of(tuple(shapes[name]), part)}"
                )


def _source(live: Live, state: AdamState, role: str) -> Tensors | None:
    """Return the tensors of the state for one role; None means zeros."""
    if role in state.tensors:
        return state.tensors[role]
    if role == "accumulated_gradient":
        return None
    if role == "parameter":
        raise StateError("with_parameters: the state has no parameters; read it with AdamState.of(..., parameters=...)")
    hint = (
        f"make it without {_native(live, _OPTIONAL[role])}, or start from what there is: "
        f"dataclasses.replace(state, {role}=state.{'second_moment' if 'moment' in role else 'parameters'})"
    )
    raise StateError(f"the {live.title} keeps {role}, and the state has none; {hint}")


def _plan_tensor(
    plan: _Plan, label: str, place: Place, tensors: Tensors | None, role: str, pairs: Sequence[Pair], cast: bool
) -> None:
    if tensors is None or not [*pieces_for(pairs, role)]:
        plan.add(label, place, lambda: np.zeros(place.shape, place.dtype))
        return
    pieces = [*pieces_for(pairs, role)]
    whole = [pair for pair in pieces if not pair.addend]
    shape = whole[0].transform.shape
    if len(whole) > 1:
        shape = (sum(pair.transform.shape[0] for pair in whole), *shape[1:])
    if tuple(place.shape) != shape:
        raise StateError(f"{label} has shape {tuple(place.shape)}, but its parameter has {shape}")
    for dtype in {tensors[pair.source].dtype for pair in pieces}:
        if not cast and _narrows(dtype, place.dtype):
            raise StateError(f"{label} is {place.dtype}, and the state has {dtype}; pass cast=True to round it")
    plan.add(label, place, lambda: put_together(pairs, role, tensors))


def _plan_alone(plan: _Plan, label: str, live: Live, role: str, name: str) -> None:
    """Plan what a parameter without partner begins with: moments at zero, an average at the parameter."""
    place = live.places[role][name]
    if role != "average":
        plan.add(label, place, lambda: np.zeros(place.shape, place.dtype))
        return
    if "parameter" not in live.places:
        raise StateError(f"{label} begins at the parameter, which the {live.title} does not hold; pass parameters=...")
    parameter = live.places["parameter"][name]
    plan.add(label, place, parameter.read)


def _plan_step(plan: _Plan, live: Live, state: AdamState) -> None:
    every = live.accumulation_steps
    if state.accumulated_calls and every != state.accumulation_steps:
        raise StateError(
            f"the state is in the middle of an accumulation ({state.accumulated_calls} of {state.accumulation_steps} "
            f"gradients), and the {live.title} {f'accumulates {every}' if every else 'does not accumulate'}; save it "
            f"after an update, or make the optimizer with the same number"
        )
    if live.step is not None:
        calls = state.step * (every or 1) + state.accumulated_calls
        limit = _largest(live.step.dtype)
        if calls > limit:
            raise StateError(f"step {calls} does not fit the counter of the {live.title}, which ends at {limit}")
        plan.add("step", live.step, lambda: np.full(live.step.shape, calls))  # type: ignore[union-attr]
    for role, place in live.powers:
        beta = live.hyperparameters[role.removesuffix("_power")]
        product = running_product(beta, state.step + live.ahead, place.dtype)
        plan.add(role, place, lambda place=place, product=product: np.full(place.shape, product))  # type: ignore[misc]


def _largest(dtype: np.dtype[Any]) -> int:
    """Return the number up to which a counter counts every step; PyTorch counts in float32."""
    return 2 ** (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _fitted(label: str, value: Array, place: Place) -> Array:
    """Return `value` in the dtype of its place."""
    value = np.asarray(value)
    if value.dtype.kind == "V" and value.dtype != place.dtype:
        # There are several bfloat16, which only know how to become float32.
        value = value.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = value.astype(place.dtype, copy=False).reshape(place.shape)
    if _narrows(value.dtype, place.dtype) and not _finite(fitted) and _finite(value):
        raise StateError(f"{label}: values are too large for {place.dtype}")
    return np.ascontiguousarray(fitted).reshape(place.shape)


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.float64, copy=False)).all())


def _narrows(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Return whether float values lose digits or range on the way."""
    if source == target or source.kind in "iu" or target.kind in "iu":
        return False
    sizes = {source.name: source.itemsize, target.name: target.itemsize}
    return sizes[target.name] <= sizes[source.name]


def _native(live: Live, canonical: str) -> str:
    fact = MAPPING.dialects[live.dialect].named(canonical)
    return f"{fact.name}=True" if fact is not None else canonical


def _warn_of_differences(live: Live, state: AdamState) -> None:
    if differing := differences(live.hyperparameters, live.dialect, state):
        warnings.warn(
            f"the {live.title} goes on with other hyperparameters than the state came from: {differing}. "
            f"Loading state does not change them",
            UserWarning,
            stacklevel=4,
        )


def differences(hyperparameters: Mapping[str, Any], dialect: str | None, state: AdamState) -> str:
    """Say in which hyperparameters, and in which form of the update, an optimizer differs from the origin of a state.

    Args:
        hyperparameters: of the optimizer that will have the state, by canonical name, as far as they are known.
        dialect: the name in mapping.yaml of that optimizer's API; None where it is not known.
        state: the state, with the hyperparameters and the dialect that it came from.

    Returns:
        A list of the differences in one line, such as ``beta1 0.8 instead of 0.9``; an empty text where there are none,
        or where they are not known. The learning rate is not compared.
    """
    own, other = (MAPPING.dialects.get(name or "") for name in (dialect, state.dialect))
    differing = [*_differences((hyperparameters, own), (state.hyperparameters, other))]
    if own is not None and other is not None:
        differing += _other_forms(own.semantics, other.semantics)
    return "; ".join(differing)


_Side = tuple[Mapping[str, Any], Dialect | None]


def _differences(*sides: _Side) -> Iterator[str]:
    if not all(values for values, _ in sides):
        return
    for name in _COMPARED:
        ours, theirs = (_known(name, side) for side in sides)
        if ours is not None and theirs is not None and np.float32(ours) != np.float32(theirs):
            yield f"{name} {_short(ours)} instead of {_short(theirs)}"


def _known(name: str, side: _Side) -> float | None:
    """Return a hyperparameter of one side; None where it is not known.

    Where the dialect has no such parameter, or gives none by default, it is the neutral value.
    """
    values, dialect = side
    if name in values:
        return float(values[name] or 0.0)
    fact = None if dialect is None else dialect.named(name)
    if dialect is None or (fact is not None and fact.default is not None):
        return None
    return float(MAPPING.canonical[name].neutral or 0.0)


def _other_forms(own: Semantics, other: Semantics) -> Iterator[str]:
    if own.bias_correction != other.bias_correction:
        yield f"bias correction of {own.bias_correction} instead of {other.bias_correction}"
    elif own.epsilon != other.epsilon:
        yield f"epsilon of the form {own.epsilon} instead of {other.epsilon}"


def _short(value: Any) -> str:
    """Return a number as text; of one that has been through float32 the shortest decimal that means the same."""
    single = np.float32(value)
    return str(single) if isinstance(value, float) and float(single) == value else repr(value)
