"""Facts about the parameters of a dialect: names, meanings, types, defaults and ranges."""

from __future__ import annotations

import builtins
import math
from dataclasses import dataclass
from typing import TypeAlias

from adamcompat.mapping.vocabulary import Absent, Mistaken, Type

Default: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of real numbers, read from text such as ``"[0, 1)"``.

    >>> Interval.parse("[0, 1)").contains(0.0), Interval.parse("[0, 1)").contains(1.0)
    (True, False)
    """

    low: float
    high: float
    includes_low: bool
    includes_high: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read an interval; raises ValueError when `text` is none."""
        stripped = text.strip()
        ends = stripped[1:-1].split(",")
        if len(stripped) < 5 or stripped[0] not in "[(" or stripped[-1] not in "])" or len(ends) != 2:
            raise ValueError(f"{text!r} is not an interval such as '[0, 1)'")
        low, high = float(ends[0]), float(ends[1])
        if not low < high:
            raise ValueError(f"{text!r} holds no number: {low} is not less than {high}")
        return cls(low, high, stripped[0] == "[", stripped[-1] == "]")

    def contains(self, value: float) -> bool:
        """Return whether `value` lies inside; NaN and infinity never do."""
        if not math.isfinite(value):
            return False
        above = value >= self.low if self.includes_low else value > self.low
        below = value <= self.high if self.includes_high else value < self.high
        return above and below

    def __str__(self) -> str:
        return f"{'[' if self.includes_low else '('}{self.low:g}, {self.high:g}{']' if self.includes_high else ')'}"


@dataclass(frozen=True, slots=True)
class ParameterFact:
    """One parameter of a dialect: its name there, its meaning, its default."""

    name: str
    canonical: str
    type: Type
    default: Default
    required: bool
    range: Interval | None
    absent: Absent
    note: str
    alias_of: str | None
    read_as_default: tuple[Default, ...] = ()
    mistaken: Mistaken = "warn"
    keyword_only: bool = False

    @property
    def parts(self) -> tuple[ParameterFact, ...]:
        """Return what has one meaning each: the parameter itself."""
        return (self,)

    def reads_as_default(self, value: object) -> bool:
        """Return whether the original takes a value for "not given"."""
        if value is None:
            return None in self.read_as_default
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and any(other is not None and value == other for other in self.read_as_default)


@dataclass(frozen=True, slots=True)
class TupleFact:
    """One parameter of a dialect that is a tuple of values, each with a meaning of its own.

    Attributes:
        name: of the parameter.
        elements: what stands at each place. They have the type, the range and the note in common; their names, such
            as ``betas[0]``, are for messages and tables, and no keywords.
    """

    name: str
    elements: tuple[ParameterFact, ...]

    @property
    def parts(self) -> tuple[ParameterFact, ...]:
        """Return what has one meaning each: the elements."""
        return self.elements

    @property
    def default(self) -> tuple[Default, ...]:
        """The default of each element."""
        return tuple(element.default for element in self.elements)

    @property
    def required(self) -> bool:
        """Return whether there is no default."""
        return self.elements[0].required

    @property
    def type(self) -> str:
        """The type of each element."""
        return self.elements[0].type

    @property
    def range(self) -> Interval | None:
        """The range of each element."""
        return self.elements[0].range

    @property
    def note(self) -> str:
        """Return what a reader of the table must know."""
        return self.elements[0].note

    @property
    def keyword_only(self) -> bool:
        """Return whether it is given by name only."""
        return self.elements[0].keyword_only

    @property
    def alias_of(self) -> None:
        """Return nothing: a tuple stands in for no other parameter."""

    @property
    def read_as_default(self) -> tuple[Default, ...]:
        """Return nothing: only a tuple is read."""
        return ()

    def reads_as_default(self, value: object) -> bool:
        """Return whether the original takes a value for "not given": of a tuple none."""
        return False


# A parameter as a signature has it.
Fact: TypeAlias = ParameterFact | TupleFact


def exception(name: str) -> type[Exception]:
    """The built-in exception that a dialect names."""
    found: type[Exception] = getattr(builtins, name)
    return found
