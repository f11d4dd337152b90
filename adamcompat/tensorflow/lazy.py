"""Loading of the adapters when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from adamcompat.extras import how_to_install

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
