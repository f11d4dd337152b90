"""Serve class statements whose bases are stand-ins, while adamcompat is installed."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from adamcompat.installation.stand_in import with_twins


def watch() -> Callable[[], None]:
    """Make classes from twins instead of stand-ins, whatever metaclass they ask for.

    Python looks for the metaclass in `builtins.__build_class__`, before any code of a base could have a say.

    Returns:
        A function that undoes it. Where somebody has put another function over ours, ours stays below and does no harm.
    """
    before = builtins.__build_class__

    def build_class(function: Callable[..., Any], name: str, /, *bases: Any, **keywords: Any) -> Any:
        return before(function, name, *with_twins(bases), **keywords)

    def undo() -> None:
        if builtins.__build_class__ is build_class:
            builtins.__build_class__ = before

    builtins.__build_class__ = build_class
    return undo
