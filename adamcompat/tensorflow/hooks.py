"""Find the methods of an original that its users override, and tell whether somebody has.

A fast path computes what several methods of the original compute one after another. Whoever has
replaced one of these expects it to be called, so that the fast path is for those who have not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from operator import attrgetter
from types import CodeType
from typing import Any


class Hooks:
    """Find the methods and properties that a part of the original's step calls.

    Args:
        original: the framework's class.
        ours: the class whose own versions replace nothing.
        roots: the methods that the part consists of.
        inner: count what they call, but not the roots themselves, which ours calls in their place.

    Attributes:
        names: the names of the methods and properties that count.
    """

    def __init__(self, original: type[Any], ours: type[Any], roots: Iterable[str], *, inner: bool = False) -> None:
        roots = tuple(roots)
        reached = _reached(original, roots)
        self.names = frozenset(reached.difference(roots if inner else ()))
        # One call for all of them: this is asked at every step.
        self._look, self._look_there = attrgetter(*sorted(self.names)), attrgetter(*sorted(reached))
        self._original, self._theirs, self._own = original, self._look_there(original), self._look(ours)

    def untouched(self, optimizer: Any) -> bool:
        """Return whether all of them are as they were: in the optimizer, its class and the original."""
        return (
            self.names.isdisjoint(vars(optimizer))
            and self._look(type(optimizer)) == self._own
            and self._look_there(self._original) == self._theirs
        )


def _reached(kind: type[Any], roots: Iterable[str]) -> set[str]:
    """Return the methods and properties of a class that some of them may call, themselves included."""
    found: set[str] = set()
    pending = [name for name in roots if hasattr(kind, name)]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            # A method may call its parent's version.
            codes = (code for base in kind.__mro__ for code in _codes(vars(base).get(name)))
            names = {used for code in codes for used in code.co_names}
            pending += [used for used in names if _overridable(inspect.getattr_static(kind, used, None))]
    return found


def _overridable(member: Any) -> bool:
    return isinstance(member, (property, staticmethod)) or (callable(member) and not isinstance(member, type))


def _codes(member: Any) -> Iterator[CodeType]:
    """Yield the code of a function or property, of what it decorates, and of the functions in it."""
    if isinstance(member, property):
        member = member.fget
    member = getattr(member, "python_function", getattr(member, "__func__", member))
    code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
    pending = [code] if isinstance(code, CodeType) else []
    while pending:
        code = pending.pop()
        yield code
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
