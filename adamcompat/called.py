"""Let a module be called as a function is, where a folder of this package has the name of a public function.

`adamcompat.migrate` migrates files, and ``from adamcompat.migrate import migrate_text`` imports from the folder. Python
binds a module in its parent whenever it is imported, and would put it in the place of a function of that name. So the
module is the function: whoever imports it, and whenever, finds both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import signature
from types import ModuleType
from typing import Any


def let_call(module: str, function: Callable[..., Any]) -> None:
    """Let a module be called.

    Args:
        module: its name in ``sys.modules``.
        function: what a call of it does; the module gets its signature.

    >>> import sys, types
    >>> sys.modules["twice"] = types.ModuleType("twice")
    >>> let_call("twice", lambda number: 2 * number)
    >>> sys.modules["twice"](21)
    42
    """

    def call(self: ModuleType, *arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    # Shells show it as the documentation of the call.
    call.__doc__ = function.__doc__
    members = {"__call__": call, "__signature__": signature(function), "__module__": __name__}
    sys.modules[module].__class__ = type("CalledModule", (ModuleType,), members)
