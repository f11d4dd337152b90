"""One Adam under the calling conventions of TensorFlow, MindSpore and PyTorch.

The names are loaded when they are first used, so that importing this package costs nothing but
NumPy, and so that a broken generated file cannot keep the generator from running.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamcompat.comparison import compare as compare
    from adamcompat.installation import install as install
    from adamcompat.installation import installed as installed
    from adamcompat.installation import uninstall as uninstall
    from adamcompat.numpy import *  # noqa: F403
    from adamcompat.recording import record as record
    from adamcompat.translation import *  # noqa: F403

__version__ = "0.2.0"

# Where the names of this level are that belong to no runtime.
_ELSEWHERE = {
    name: module
    for module, names in {
        "adamcompat.comparison": ("compare",),
        "adamcompat.installation": ("install", "installed", "uninstall"),
        "adamcompat.installation.manager": ("load_ipython_extension", "unload_ipython_extension"),
        "adamcompat.recording": ("record",),
        "adamcompat.translation": ("Translation", "TranslationError", "translate"),
    }.items()
    for name in names
}


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
