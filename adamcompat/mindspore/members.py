"""Tell which of MindSpore's optimizers an object is."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.originals import originals
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mindspore.layout import Attributes


class Member(NamedTuple):
    """Describe one original of MindSpore.

    Attributes:
        dialect: the facts of the original.
        kind: the class itself.
        attributes: what of it a step reads and writes; None where groups hold every setting.
    """

    dialect: Dialect
    kind: type[Any]
    attributes: Attributes | None


@cache
def members() -> tuple[Member, ...]:
    """Return all originals, each with what its drop-in knows of it.

    >>> [member.dialect.name for member in members()]  # doctest: +NORMALIZE_WHITESPACE
    ['mindspore', 'mindspore_adamweightdecay', 'mindspore_experimental', 'mindspore_experimental_adamw', 'mint',
     'mint_adamw']
    """
    found = []
    for original in originals().values():
        runtime, kind = RUNTIMES[original.runtime], original.loaded()
        base = runtime.base(original.dialect)
        if runtime.framework.name == "mindspore" and base is not None and kind is not None:
            drop_in = getattr(import_module(base.module), base.name)
            found.append(Member(original.dialect, kind, getattr(drop_in, "_attributes", None)))
    return tuple(found)


def counter_of(optimizer: Any) -> Any:
    """Return the Parameter that counts the steps of an optimizer with MindSpore's call."""
    return optimizer.global_step if hasattr(optimizer, "global_step") else optimizer.state_step


def member_of(optimizer: Any) -> Member | None:
    """Return the original that an optimizer is an instance of, or None."""
    return next((member for member in members() if isinstance(optimizer, member.kind)), None)
