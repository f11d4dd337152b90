"""Find what a step of an optimizer is made of, and what of it a class or an optimizer replaces.

MindSpore's users override parts of a step in subclasses: they clip in `construct`, or compute a learning rate
in `get_lr`. The fast path of PYNATIVE mode stands for the whole step, so it is for those who override nothing.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from mindspore import Tensor

from adamcompat.mindspore.layout import same


class Parts(NamedTuple):
    """Hold what a method reaches through its object.

    Attributes:
        methods: names of methods and properties, the first method among them.
        attributes: names of everything else.
    """

    methods: frozenset[str]
    attributes: frozenset[str]


@cache
def parts_of(kind: type, first: str) -> Parts:
    """Return what the method `first` of a class reaches, read from the source that MindSpore compiles.

    >>> from mindspore import nn
    >>> sorted(parts_of(nn.Adam, "get_lr").attributes)
    ['dynamic_lr', 'global_step', 'is_group_lr', 'learning_rate']
    """
    methods: set[str] = set()
    attributes: set[str] = set()
    left = [first]
    while left:
        name = left.pop()
        if name in methods or name in attributes:
            continue
        found = inspect.getattr_static(kind, name, None)
        if isinstance(found, property):
            found = found.fget
        if inspect.isroutine(found) or isinstance(found, staticmethod):
            methods.add(name)
            left.extend(_names(inspect.unwrap(getattr(found, "__func__", found))))
        else:
            attributes.add(name)
    return Parts(frozenset(methods), frozenset(attributes))


def _names(method: Any) -> Iterator[str]:
    """Yield the names that a method looks up in its first argument."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    own = next(iter(inspect.signature(method).parameters), None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == own:
            yield node.attr


class Overrides:
    """Find the parts of a step that are replaced, seen from a class that replaces nothing.

    Args:
        plain: the class that replaces nothing.
        first: the name of the method that makes a step.
        original: the class whose source says what belongs to a step.
        switches: attributes that choose between forms of the step, of which the fast path has one.
    """

    def __init__(self, plain: type, first: str, original: type, switches: Collection[str] = ()) -> None:
        self._switches = switches
        self._parts = parts_of(original, first)
        self._known = {name: inspect.getattr_static(plain, name) for name in self._parts.methods}

    def made(self, optimizer: Any, read: Iterable[str]) -> dict[str, Any]:
        """Return the operators and constants of an optimizer that has just been made.

        Args:
            optimizer: an optimizer that has just been made.
            read: attributes that the fast path asks the optimizer for, so that they may change.
        """
        names = self._parts.attributes.difference(read)
        found = {name: getattr(optimizer, name, None) for name in names}
        return {
            name: value
            for name, value in found.items()
            if callable(value) or isinstance(value, Tensor) or name in self._switches
        }

    def of(self, optimizer: Any, made: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of what is replaced: by a subclass, on the optimizer itself, or since it was made.

        Args:
            optimizer: the same optimizer at any later time.
            made: its operators and constants when it was made, from `made`.
        """
        kind, own = type(optimizer), vars(optimizer)
        methods = {
            name
            for name, known in self._known.items()
            if name in own or inspect.getattr_static(kind, name, None) is not known
        }
        return frozenset(
            methods.union(name for name, value in made.items() if not same(getattr(optimizer, name, None), value))
        )
