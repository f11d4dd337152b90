"""Hold Adam's state, apart from any framework (step, moments, parameters), and move it from optimizer to optimizer.

>>> import numpy as np
>>> from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
>>> from adamcompat.state import AdamState
>>> weight = Parameter(np.ones(3), "weight")
>>> old, new = TFStyleAdam(0.1), MindSporeStyleAdam([weight], 0.1, eps=1e-7)
>>> _ = old.apply_gradients([(np.ones(3), weight)])
>>> print(AdamState.of(old).load_into(new))
weight (3,) -> weight (3,)  same  by name
>>> int(new.global_step[0])
1
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamcompat.state.layout import Transform
    from adamcompat.state.matching import Matching, Pair
    from adamcompat.state.model import AdamState
    from adamcompat.state.terms import StateError

__all__ = ["AdamState", "Matching", "Pair", "StateError", "Transform"]

_MODULES = {
    "AdamState": "model",
    "Matching": "matching",
    "Pair": "matching",
    "StateError": "terms",
    "Transform": "layout",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"adamcompat.state.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
