"""Hold values that may change from step to step: numbers, lists, callables."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import numpy as np

from adamcompat.mapping.facts import Interval


def takes_step(function: Callable[..., Any]) -> bool:
    """Return whether `function` takes the step as its argument.

    Args:
        function: any callable. One whose signature cannot be read counts as taking the step.

    >>> takes_step(lambda step: 0.1), takes_step(lambda: 0.1)
    (True, False)
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return any(p.default is p.empty for p in positional) or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def real_number(value: Any) -> float | None:
    """Return a value as a float if it is one real number or holds one, as arrays and tensors do; else None.

    Text, truth values, complex numbers and spans of time are no real numbers, whatever they are wrapped in.

    Args:
        value: anything.

    Returns:
        The number; infinity for a whole number that no float holds.

    >>> real_number(np.float32(0.5)), real_number([0.5])
    (0.5, 0.5)
    >>> [real_number(value) for value in (True, "0.5", np.array("0.5"), np.True_, 1j, np.timedelta64(1))]
    [None, None, None, None, None, None]
    """
    try:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiuVO":
            return None
        item = array.reshape(-1)[0]
        # Python's fractions and long integers, and whatever else is a number by itself.
        if array.dtype.kind == "O" and (isinstance(item, (bool, str, bytes)) or not hasattr(item, "__float__")):
            return None
        return float(item)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


class Schedule:
    """Give a number for each step.

    Args:
        value: a number; a list or one-dimensional array with one value a step; or a callable of the step (an int, 0 at
            the first) or of nothing.
        name: what it is called, for errors.
        interval: where its values must lie; None allows every finite number.
        wrong_type: the exception for a value that is no number.
        out_of_range: the exception for a number outside `interval`, and for an empty list.

    Attributes:
        given: the value as it was given; of a list or array a list of floats.
        name: what it is called.

    >>> Schedule([0.1, 0.01], "learning_rate").at(1)
    0.01
    >>> Schedule(lambda step: 0.1 / (step + 1), "learning_rate").at(4)
    0.02
    """

    __slots__ = ("_call", "_interval", "_list", "_number", "_out_of_range", "_wrong_type", "given", "name")

    def __init__(
        self,
        value: Any,
        name: str,
        interval: Interval | None = None,
        wrong_type: type[Exception] = TypeError,
        out_of_range: type[Exception] = ValueError,
    ) -> None:
        self.name = name
        self._interval = interval
        self._wrong_type = wrong_type
        self._out_of_range = out_of_range
        self._number: float | None = None
        self._list: tuple[float, ...] | None = None
        self._call: Callable[[int], Any] | None = None
        self.given = value
        if callable(value):
            self._call = value if takes_step(value) else lambda step: value()
        elif isinstance(value, (str, bytes, bool, Mapping, Set)) or value is None:
            raise self._no_number(value)
        elif isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0:
            values = list(value)
            if not values:
                raise self._out_of_range(f"{name} is an empty list; give one value for each step")
            self._list = tuple(self._check(item, f"{name}[{index}]") for index, item in enumerate(values))
            self.given = list(self._list)
        else:
            self._number = self._check(value, name)

    @property
    def constant(self) -> bool:
        """Return whether every step has the same value."""
        return self._number is not None

    @property
    def listed(self) -> tuple[float, ...] | None:
        """Return the values of a list, or None where the schedule is no list."""
        return self._list

    def ask(self, step: Any) -> Any:
        """Return what the callable returns for a step, as it is. The schedule must have been given a callable.

        Args:
            step: the number of the step, counted from 0; may be a tensor.
        """
        assert self._call is not None
        return self._call(step)

    def at(self, step: int, argument: Any = None) -> float:
        """Return the value of a step.

        Args:
            step: the number of the step, counted from 0.
            argument: what a callable gets instead of the number, such as a tensor.

        Raises:
            RuntimeError: a list has no value for this step.
            TypeError: a callable returned no number; another exception where `wrong_type` was given.
            ValueError: a callable returned a number out of range; another exception where `out_of_range` was given.
        """
        if self._number is not None:
            return self._number
        if self._list is not None:
            if step >= len(self._list):
                raise RuntimeError(
                    f"{self.name} is a list of {len(self._list)} values, but this is step {step + 1}; "
                    f"give one value for each step, or a callable"
                )
            return self._list[step]
        return self._check(self.ask(step if argument is None else argument), f"{self.name}({step})")

    def _check(self, value: Any, what: str) -> float:
        number = real_number(value)
        if number is None:
            raise self._no_number(value, what)
        if not np.isfinite(number) or (self._interval is not None and not self._interval.contains(number)):
            where = str(self._interval) if self._interval is not None else "the finite numbers"
            raise self._out_of_range(f"{what} must lie in {where}, got {number!r}")
        return number

    def _no_number(self, value: Any, what: str | None = None) -> Exception:
        return self._wrong_type(
            f"{what or self.name} must be a number, a list of numbers, or a callable of the step or of nothing; "
            f"got {value!r} ({type(value).__name__})"
        )
