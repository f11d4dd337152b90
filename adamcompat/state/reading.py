"""Read what an optimizer keeps, and find its step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamcompat.state.live import Live, refuse_partial
from adamcompat.state.powers import factors_in
from adamcompat.state.terms import StateError


def contents(live: Live, step: int | None, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Copy what an optimizer keeps, as the arguments of `AdamState`.

    Args:
        live: the optimizer.
        step: the number of updates made, where the optimizer does not know it; None to ask the optimizer.
        names: the parameters that are wanted, in order, and what they shall be called; None means all as they are.

    Returns:
        The name of each attribute of `AdamState` to its value; the tensors are copies.

    Raises:
        StateError: the optimizer does not tell its step, tells two, or does not confirm `step`; or it keeps a kind of
            state for some parameters only.
    """
    refuse_partial(live)
    chosen = names if names is not None else {name: name for name in live.shapes}
    kept = {
        role: {called: places[name].read() for name, called in chosen.items()} for role, places in live.places.items()
    }
    every = live.accumulation_steps or 1
    calls = int(live.step.read().reshape(())) if live.step is not None else None
    steps = _step(live, None if calls is None else calls // every, step)
    pending = 0 if calls is None else calls % every
    return {
        "step": steps,
        "first_moment": kept["first_moment"],
        "second_moment": kept["second_moment"],
        "maximum_second_moment": kept.get("maximum_second_moment"),
        "parameters": kept.get("parameter"),
        "average": kept.get("average"),
        "accumulation_steps": live.accumulation_steps,
        "accumulated_calls": pending,
        "accumulated_gradient": kept.get("accumulated_gradient") if pending else None,
        "hyperparameters": dict(live.hyperparameters),
        "dialect": live.dialect,
        "numerics": live.numerics,
        "convention": live.convention,
    }


def _step(live: Live, counted: int | None, given: int | None) -> int:
    """Return the number of updates, by the counter, by the running products, and by the caller's word."""
    shown: dict[str, int] = {}
    for role, place in live.powers:
        factors = factors_in(place.read().reshape(())[()], live.hyperparameters[role.removesuffix("_power")])
        if factors is not None:
            shown[role] = factors - live.ahead
    known = {**({"its counter": counted} if counted is not None else {}), **shown}
    if given is not None:
        if known and given not in known.values():
            raise StateError(f"step={given}, but the {live.title} shows {_facts(known)}")
        return given
    if not known:
        raise StateError(
            f"the {live.title} does not count steps, and its powers of the betas have become 0; pass step=..."
        )
    if len(set(known.values())) > 1:
        raise StateError(
            f"the {live.title} is of two minds about its step: {_facts(known)}; pass step=... to say which is right"
        )
    return next(iter(known.values()))


def _facts(steps: Mapping[str, int]) -> str:
    return " and ".join(f"{value} ({where})" for where, value in steps.items())
