"""Drop-in for tf.compat.v1.train.AdamOptimizer, in graphs and in eager execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamcompat.tensorflow import load

if TYPE_CHECKING:
    from adamcompat.tensorflow.v1.adapters import AdamOptimizer

__all__ = ["AdamOptimizer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return load("adamcompat.tensorflow.v1.adapters", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
