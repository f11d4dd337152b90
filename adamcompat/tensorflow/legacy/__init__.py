"""Drop-in for tf.keras.optimizers.legacy.Adam: TensorFlow 2.6's optimizer on today's TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamcompat.tensorflow import load

if TYPE_CHECKING:
    from adamcompat.tensorflow.legacy.adapters import Adam

__all__ = ["Adam"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return load("adamcompat.tensorflow.legacy.adapters", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
