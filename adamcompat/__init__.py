"""One Adam under both calling conventions.

The classes are loaded when they are first used, so that importing this package costs nothing but
NumPy, and so that a broken generated file cannot keep the generator from running.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamcompat.numpy import *  # noqa: F403
    from adamcompat.translation import *  # noqa: F403

__version__ = "0.1.0"

# Public names that do not belong to the NumPy runtime, and the modules that they live in.
_ELSEWHERE = dict.fromkeys(("Translation", "TranslationError", "translate"), "adamcompat.translation")


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if not name.startswith("_"):
        import adamcompat.numpy as runtime

        if name in runtime.__all__:
            return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    import adamcompat.numpy as runtime

    return sorted({*globals(), *_ELSEWHERE, *runtime.__all__})
