"""Ways to run the update: compiled by Numba, or block by block on NumPy."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from adamcompat.extras import how_to_install

VARIABLE = "ADAMCOMPAT_EXECUTOR"


def compiled() -> ModuleType | None:
    """The compiled executor, or None where Numba is absent or ADAMCOMPAT_EXECUTOR is ``numpy``.

    Raises:
        ValueError: ADAMCOMPAT_EXECUTOR is neither ``numpy`` nor ``numba``.
        ModuleNotFoundError: it is ``numba``, and Numba is not installed.
    """
    return _executor(os.environ.get(VARIABLE, ""))


@cache
def _executor(asked: str) -> ModuleType | None:
    if asked not in ("", "numpy", "numba"):
        raise ValueError(f"{VARIABLE} must be numpy or numba, got {asked!r}")
    if asked == "numpy":
        return None
    if find_spec("numba") is None:
        if asked == "numba":
            raise ModuleNotFoundError(f"{VARIABLE} is numba, but Numba is missing: {how_to_install('fast')}")
        return None
    return import_module("adamcompat.executors.fused")
