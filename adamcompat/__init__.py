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
    from adamcompat.migrate.migration import migrate as migrate
    from adamcompat.numpy import *  # noqa: F403
    from adamcompat.recording import record as record
    from adamcompat.translation import *  # noqa: F403
    from adamcompat.verify.verification import verify as verify

__version__ = "0.2.0"

# Where the names of this level are that belong to no runtime.
_ELSEWHERE = {
    name: module
    for module, names in {
        "adamcompat.comparison": ("compare",),
        "adamcompat.installation": ("install", "installed", "uninstall"),
        "adamcompat.installation.manager": ("load_ipython_extension", "unload_ipython_extension"),
        "adamcompat.recording": ("record",),
        "adamcompat.translation": ("Table", "Translation", "TranslationError", "table", "translate"),
    }.items()
    for name in names
}
# Folders that are functions, too (`adamcompat.called`): Python binds them here whenever they are imported.
_CALLED = ("migrate", "verify")


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name in _CALLED:
        return import_module(f"adamcompat.{name}")
    if name == "__all__":
        return __dir__()
    if not name.startswith("_"):
        import adamcompat.numpy as runtime

        if name in runtime.__all__:
            return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    import adamcompat.numpy as runtime

    return sorted({*_ELSEWHERE, *_CALLED, *runtime.__all__})
