"""Provide Adam and AdamW for TensorFlow: drop-ins, and the calls of MindSpore and PyTorch.

The drop-ins stand for the classes of tf.keras, its legacy optimizers and tf.compat.v1.

TensorFlow is imported when a class is first used; whether ``tf.keras`` is Keras 3 or tf_keras
(``TF_USE_LEGACY_KERAS=1``) is decided then.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adamcompat.extras import how_to_install

if TYPE_CHECKING:
    from adamcompat.tensorflow.adapters import (
        Adam,
        AdamW,
        MindSporeStyleAdam,
        MindSporeStyleAdamWeightDecay,
        TorchStyleAdam,
        TorchStyleAdamW,
    )

__all__ = [
    "Adam",
    "AdamW",
    "MindSporeStyleAdam",
    "MindSporeStyleAdamWeightDecay",
    "TorchStyleAdam",
    "TorchStyleAdamW",
]

_NEEDED = ("tensorflow", "keras", "tf_keras")


def load(module: str, name: str) -> Any:
    """Import `module` and return its attribute `name`.

    Raises:
        ModuleNotFoundError: TensorFlow is missing; the text says how to install it.
    """
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise ModuleNotFoundError(
            f"{module} needs {error.name}, which is not installed: {how_to_install('tensorflow')}",
            name=error.name,
        ) from None


def __getattr__(name: str) -> Any:
    if name in __all__:
        return load("adamcompat.tensorflow.adapters", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
