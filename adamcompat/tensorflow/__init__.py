"""Adam for TensorFlow: drop-ins for tf.keras, tf.keras.optimizers.legacy and tf.compat.v1, and MindSpore's call.

TensorFlow is imported when a class is first used; whether ``tf.keras`` is Keras 3 or tf_keras
(``TF_USE_LEGACY_KERAS=1``) is decided then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamcompat.tensorflow.lazy import load

if TYPE_CHECKING:
    from adamcompat.tensorflow.adapters import Adam, MindSporeStyleAdam

__all__ = ["Adam", "MindSporeStyleAdam"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return load("adamcompat.tensorflow.adapters", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
