"""Hold facts about the parameters of a dialect: names, meanings, types, defaults and ranges."""

from __future__ import annotations

import builtins
import math
from dataclasses import dataclass
from typing import TypeAlias

from adamcompat.mapping.vocabulary import Absent, Mistaken, Type

Default: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Hold a range of real numbers, read from text such as ``"[0, 1)"``.

    Attributes:
        low: the lower end; may be minus infinity.
        high: the upper end, more than `low`; may be infinity.
        includes_low: whether `low` itself is in the range.
        includes_high: whether `high` itself is in the range.

    >>> Interval.parse("[0, 1)").contains(0.0), Interval.parse("[0, 1)").contains(1.0)
    (True, False)
    """

    low: float
    high: float
    includes_low: bool
    includes_high: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read an interval.

        Args:
            text: two numbers between brackets, such as ``"[0, 1)"`` or ``"(0, inf)"``. A square bracket includes its
                end, a round one does not.

        Returns:
            The interval.

        Raises:
            ValueError: `text` is no interval, or the interval holds no number.
        """
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
    """Describe one parameter of a dialect: its name there, its meaning, its default.

    Attributes:
        name: the dialect's own name.
        canonical: the canonical name, which says what the parameter means.
        type: the kind of values that it takes, one of the words of `vocabulary.Type`.
        default: the default; None also where it is required.
        required: whether it has no default.
        range: where its values must lie; None where every value of its type is taken.
        absent: what to do with a value that matters where another dialect has no counterpart: ``refuse``, ``warn`` or
            ``ignore``.
        note: what a reader of the mapping table must know; may be empty.
        alias_of: the name of the parameter that it stands in for, or None.
        read_as_default: other values that the original takes for "not given".
        mistaken: what to do with a value that matters where a parameter of the same name means something else: ``warn``
            or ``refuse``.
        keyword_only: whether it is given by name only.
    """

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
        """Return the parameters that have one meaning each: here the parameter itself."""
        return (self,)

    def reads_as_default(self, value: object) -> bool:
        """Return whether the original takes a value for "not given".

        Args:
            value: any value that a caller may give.
        """
        if value is None:
            return None in self.read_as_default
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and any(other is not None and value == other for other in self.read_as_default)


@dataclass(frozen=True, slots=True)
class TupleFact:
    """Describe one parameter of a dialect that is a tuple of values, each with a meaning of its own.

    Attributes:
        name: the dialect's own name of the tuple.
        elements: the parameter at each place. They have the type, the range and the note in common; their names, such
            as ``betas[0]``, are for messages and tables, and cannot be used as keywords.
    """

    name: str
    elements: tuple[ParameterFact, ...]

    @property
    def parts(self) -> tuple[ParameterFact, ...]:
        """Return the parameters that have one meaning each: the elements."""
        return self.elements

    @property
    def default(self) -> tuple[Default, ...]:
        """Return the default of each element."""
        return tuple(element.default for element in self.elements)

    @property
    def required(self) -> bool:
        """Return whether there is no default."""
        return self.elements[0].required

    @property
    def type(self) -> str:
        """Return the type that each element has."""
        return self.elements[0].type

    @property
    def range(self) -> Interval | None:
        """Return the range of each element, or None where every value of the type is taken."""
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
        """Return None: a tuple stands in for no other parameter."""

    @property
    def read_as_default(self) -> tuple[Default, ...]:
        """Return no values: the original takes no tuple for "not given"."""
        return ()

    def reads_as_default(self, value: object) -> bool:
        """Return False: the original takes no tuple for "not given"."""
        return False


# A parameter as a signature has it.
Fact: TypeAlias = ParameterFact | TupleFact


def exception(name: str) -> type[Exception]:
    """Return the built-in exception type of a name, as the errors of a dialect give it."""
    found: type[Exception] = getattr(builtins, name)
    return found
