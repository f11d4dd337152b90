"""Tell how much a difference matters: a weight after 100 steps, by the NumPy runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from adamcompat.mapping import lens
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN
from adamcompat.translation.names import of_adapter

STEPS, WEIGHT, GRADIENT = 100, 1.0, 0.1
SETTING = f"a weight of {WEIGHT:g} after {STEPS} steps with a gradient of {GRADIENT:g}"


def weight_after(values: Mapping[str, Any]) -> float | None:
    """Return what becomes of a weight of 1 in 100 steps under a gradient of 0.1.

    Args:
        values: canonical hyperparameters.

    Returns:
        The weight, or None where a value is not known or no style takes them all.

    >>> adam = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    >>> print(f"{weight_after(adam | {'l2_weight_decay': 0.01}):.6f}")
    0.900154
    >>> print(f"{weight_after(adam | {'decoupled_weight_decay': 0.01}):.6f}")
    0.899050
    """
    import numpy as np

    import adamcompat

    wanted = {name: value for name, value in values.items() if value != MAPPING.canonical[name].neutral}
    if any(value is UNKNOWN or value is None for value in wanted.values()):
        return None
    for adapter in MAPPING.adapters:
        signature = of_adapter(adapter)
        if adapter.runtime != "numpy" or any(signature.named(name) is None for name in wanted):
            continue
        borrowed = (fact for _, fact in MAPPING.borrowed(adapter))
        keywords = lens.to_native(signature.dialect, wanted, borrowed)
        weight, gradient = np.array([WEIGHT]), np.array([GRADIENT])
        kind = getattr(adamcompat, adapter.name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                _train(kind, signature.dialect.protocol, keywords, weight, gradient)
        except (TypeError, ValueError, RuntimeError):
            return None
        return float(weight[0])
    return None


def _train(kind: Any, protocol: str, keywords: Mapping[str, Any], weight: Any, gradient: Any) -> None:
    optimizer = kind([weight], **keywords) if protocol == "call" else kind(**keywords)
    for _ in range(STEPS):
        if protocol == "call":
            optimizer((gradient,))
        else:
            optimizer.apply_gradients([(gradient, weight)])


def difference(before: str, values: Mapping[str, Any], after: str, others: Mapping[str, Any]) -> str:
    """A clause with the weights that two sets of hyperparameters give, "" where they cannot be computed."""
    first, second = weight_after(values), weight_after(others)
    if first is None or second is None or f"{first:.6f}" == f"{second:.6f}":
        return ""
    return f"; {SETTING} is {first:.6f} {before} and {second:.6f} {after}"
