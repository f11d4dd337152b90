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
    """Return the compiled executor, or None where NumPy alone makes the steps.

    The environment variable ADAMCOMPAT_EXECUTOR decides: ``numba`` asks for the compiled executor, ``numpy`` for NumPy
    alone. Where it is unset or empty, the compiled executor is taken if Numba is installed, and compiles.

    Returns:
        The module `adamcompat.executors.fused`, or None.

    Raises:
        ValueError: ADAMCOMPAT_EXECUTOR is set to something other than ``numpy`` or ``numba``; or it is ``numba``, and
            NUMBA_DISABLE_JIT is set.
        ModuleNotFoundError: ADAMCOMPAT_EXECUTOR is ``numba``, and Numba is not installed.
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
    fused = import_module("adamcompat.executors.fused")
    if not fused.COMPILES:
        if asked == "numba":
            raise ValueError(
                f"{VARIABLE} is numba, but NUMBA_DISABLE_JIT keeps Numba from compiling; unset one of them"
            )
        return None
    return fused
