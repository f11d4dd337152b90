"""Make the classes that stand under the frameworks' names."""

from __future__ import annotations

import copyreg
import functools
import types
from abc import ABCMeta
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from adamcompat.installation.frameworks import Recipe, recipe_of
from adamcompat.mapping.model import Adapter
from adamcompat.mapping.tables import MAPPING


@dataclass(slots=True, eq=False)
class Use:
    """Count the use of a stand-in.

    Attributes:
        made: how many optimizers have been made, subclasses included.
        called: whether a method that makes a step was called.
        counters: functions that return how many steps one of the first optimizers has counted.
    """

    made: int = 0
    called: bool = False
    # The first few are enough to see whether anybody steps; more would keep their memory.
    counters: deque[Callable[[], int]] = field(default_factory=lambda: deque(maxlen=16))

    @property
    def stepped(self) -> bool:
        """Return whether a step was asked for, or counted."""
        return self.called or any(count() > 0 for count in self.counters)

    def forget(self) -> None:
        """Forget the use so far."""
        self.made, self.called = 0, False
        self.counters.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """Hold a class of a framework, and the class that stands in for it.

    Attributes:
        name: the public name of the original.
        adapter: the class of ours.
        original: the class of the framework.
        stand_in: the class that stands under its names.
        use: counts the use of the stand-in.
    """

    name: str
    adapter: Adapter
    original: type
    stand_in: type
    use: Use


class StandIn(ABCMeta):
    """Be the type of classes that stand in for others: an instance of the other one is one of theirs, too.

    A class that is made from a stand-in must not be of this type: it may have a metaclass of its own, as it may have
    with the original, and Python allows no two. So it is made from the twin, the same class under the original's
    metaclass. Derived from ABCMeta because Python chooses the metaclass of a class that has an abstract parent too
    before it comes here.
    """

    def __new__(mcls, name: str, bases: tuple[type, ...], space: dict[str, Any], **keywords: Any) -> Any:
        """Make a stand-in, or a class from the twins of stand-ins."""
        twins = with_twins(bases)
        if twins == bases:
            return super().__new__(mcls, name, bases, space, **keywords)
        # Somebody may have called ABCMeta, and Python has come here instead.
        abstract = any(getattr(value, "__isabstractmethod__", False) for value in space.values())
        kind, _, _ = types.prepare_class(name, twins, {"metaclass": ABCMeta} if abstract else {})
        return kind(name, twins, space, **keywords)

    def __instancecheck__(cls, instance: Any) -> bool:
        original = cls.__dict__.get("_stands_for")
        return isinstance(instance, original) if original else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        original = cls.__dict__.get("_stands_for")
        return issubclass(subclass, original) if original else super().__subclasscheck__(subclass)

    def __repr__(cls) -> str:
        adapter = cls.__dict__.get("_adapter_of")
        return f"<class {adapter.module}.{adapter.name}, installed>" if adapter else super().__repr__()


def with_twins(bases: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the bases of a class with the twins of stand-ins in their place.

    Args:
        bases: the bases, as the class statement names them.
    """
    return tuple([vars(base).get("_twin", base) if type(base) is StandIn else base for base in bases])


def _pickled(cls: StandIn) -> Any:
    """Return how to pickle a stand-in: it is found again by its adapter, whatever its name means then."""
    adapter = cls.__dict__.get("_adapter_of")
    return (_found, (adapter.runtime, adapter.name)) if adapter else cls.__qualname__


def _found(runtime: str, name: str) -> type:
    return replacement(recipe_of(MAPPING.adapter(runtime, name))).stand_in


copyreg.pickle(StandIn, _pickled)

_made: dict[Adapter, Replacement] = {}


def replacement(recipe: Recipe) -> Replacement:
    """Return the stand-in that a recipe describes; the same object each time.

    The adapter is imported, and so is its framework.

    Args:
        recipe: the recipe.

    Raises:
        ImportError: the adapter cannot be imported.
    """
    adapter = recipe.adapter
    if adapter not in _made:
        ours = getattr(import_module(adapter.module), adapter.name)
        original = next(cls for cls in ours.__mro__ if cls.__module__.partition(".")[0] != "adamcompat")
        use = Use()
        space: dict[str, Any] = {
            "__doc__": ours.__doc__,
            "__module__": recipe.module or original.__module__,
            "_stands_for": original,
            "_adapter_of": adapter,
            "__init__": _counting_made(ours.__init__, use, recipe.counter),
            **{name: _counting_steps(getattr(ours, name), use) for name in recipe.steps if hasattr(ours, name)},
        }
        if recipe.marks is not None:
            space |= {name: value for name, value in vars(original).items() if recipe.marks in name}
        space["_twin"] = type(original)(original.__name__, (ours,), space)
        _made[adapter] = Replacement(recipe.name, adapter, original, StandIn(original.__name__, (ours,), space), use)
    return _made[adapter]


def _counting_made(
    method: Callable[..., None], use: Use, counter: Callable[[Any], Callable[[], int]] | None
) -> Callable[..., None]:
    @functools.wraps(method)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        method(self, *args, **kwargs)
        use.made += 1
        if counter is not None and len(use.counters) < (use.counters.maxlen or 0):
            use.counters.append(counter(self))

    return init


def _counting_steps(method: Callable[..., Any], use: Use) -> Callable[..., Any]:
    @functools.wraps(method)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        use.called = True
        return method(self, *args, **kwargs)

    return step
