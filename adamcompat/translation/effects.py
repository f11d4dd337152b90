"""Compute how much a difference matters: a weight after 100 steps, by the NumPy runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamcompat.hyperparameters import Hyperparameters, check_value, neutral_values
from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule
from adamcompat.translation.arguments import UNKNOWN
from adamcompat.translation.names import Signature

STEPS, WEIGHT, GRADIENT = 100, 1.0, 0.1
SETTING = f"a weight of {WEIGHT:g} after {STEPS} steps with a gradient of {GRADIENT:g}"


def weight_after(signature: Signature, values: Mapping[str, Any]) -> float | None:
    """Return the value of a weight of 1 after 100 steps with a gradient of 0.1, in float64.

    Args:
        signature: the class that makes the steps.
        values: its canonical hyperparameters.

    Returns:
        The weight, or None where a value is not known or the class does not take them all.

    >>> from adamcompat.translation.names import original
    >>> adam = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    >>> there, here = (original(MAPPING.dialects[name]) for name in ("mindspore", "keras3"))
    >>> print(f"{weight_after(there, adam | {'l2_weight_decay': 0.01}):.6f}")
    0.900154
    >>> print(f"{weight_after(here, adam | {'decoupled_weight_decay': 0.01}):.6f}")
    0.899050
    """
    wanted = {name: value for name, value in values.items() if value != MAPPING.canonical[name].neutral}
    if "learning_rate" not in wanted or any(value is UNKNOWN or value is None for value in wanted.values()):
        return None
    # Whoever translates many calls asks for the same few weights again and again.
    asked = f"{signature.dialect} {sorted(wanted.items())}"
    if asked not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[asked] = _run(signature, wanted)
    return _KNOWN[asked]


_KNOWN: dict[str, float | None] = {}
_MOST_KNOWN = 1000


def _run(signature: Signature, wanted: Mapping[str, Any]) -> float | None:
    """Make the steps, with canonical hyperparameters that all matter; None where the class does not take them all."""
    import numpy as np

    from adamcompat.groups import Group
    from adamcompat.numpy.engine import Engine

    settings: dict[str, Any] = neutral_values()
    weight, gradient = np.array([WEIGHT]), np.array([GRADIENT])
    try:
        for name, value in wanted.items():
            fact = signature.named(name)
            if fact is None:
                return None
            settings[name] = check_value(fact, value, signature.dialect)
        schedules = {name: value for name, value in settings.items() if isinstance(value, Schedule)}
        hyper = Hyperparameters(settings, schedules, {})
        numerics = MAPPING.numerics["canonical"]
        engine = Engine(signature.dialect, numerics, hyper, np.zeros((), np.int64), wrong_gradients=ValueError)
        engine.add(weight, "weight", Group(), decays=True)
        for _ in range(STEPS):
            engine.follow()
            engine.step((0,), [gradient])
    except (TypeError, ValueError, RuntimeError):
        return None
    return float(engine.slots[0].array[0])


def difference(
    before: Signature, values: Mapping[str, Any], after: Signature, others: Mapping[str, Any], names: tuple[str, str]
) -> str:
    """Return a clause with the weights that two calls give, or "".

    Args:
        before: the class of the first call.
        values: its canonical hyperparameters.
        after: the class of the second call; may be the same.
        others: the canonical hyperparameters of the second call.
        names: what to call the two in the clause.

    Returns:
        The clause, which begins with a semicolon; "" where a weight cannot be computed, or both agree in six decimals.
    """
    first, second = weight_after(before, values), weight_after(after, others)
    if first is None or second is None or f"{first:.6f}" == f"{second:.6f}":
        return ""
    return f"; {SETTING} is {first:.6f} {names[0]} and {second:.6f} {names[1]}"
