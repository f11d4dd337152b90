"""Hold the input of the conversion of a call, and its result."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import UNKNOWN
from adamcompat.translation.bindings import Bindings
from adamcompat.translation.messages import Message, Severity
from adamcompat.translation.source import Source


@dataclass(frozen=True, slots=True)
class Whole:
    """Describe the tuple that an element comes from, where the call does not write it out.

    Attributes:
        name: the parameter of the source.
        text: the expression of the tuple.
        place: which element, counted from 0.
        count: how many there are.
        plain: whether the expression may stand in the call more than once.
    """

    name: str
    text: str
    place: int
    count: int
    plain: bool


@dataclass(frozen=True, slots=True)
class Value:
    """Hold the setting of one hyperparameter.

    Attributes:
        fact: the parameter of the source.
        text: the expression.
        value: the value of the expression, or UNKNOWN where only running it would tell.
        node: the expression, parsed; None for a default.
        position: the argument that it stands in, counted from 0; None for a default.
        whole: the tuple that it is an element of, where only that is written.
    """

    fact: ParameterFact
    text: str
    value: Any
    node: ast.expr | None = None
    position: int | None = None
    whole: Whole | None = None

    @property
    def given(self) -> bool:
        """Return whether the call gives the value, rather than the default."""
        return self.node is not None

    @property
    def effective(self) -> Any:
        """Return the value; for None the value that changes nothing."""
        return MAPPING.canonical[self.fact.canonical].neutral if self.value is None else self.value

    @property
    def matters(self) -> bool:
        """Return whether the value may change anything."""
        return self.value is UNKNOWN or self.effective != MAPPING.canonical[self.fact.canonical].neutral

    def __str__(self) -> str:
        return f"{self.fact.name}={self.text}"


@dataclass(frozen=True, slots=True)
class NewArgument:
    """Hold one argument of the translated call.

    Attributes:
        keyword: its keyword, or None where it is positional.
        text: the expression.
        position: the argument of the original call that it comes from, counted from 0, or None.
        beside: the positions of other arguments that it comes from.
    """

    keyword: str | None
    text: str
    position: int | None
    beside: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text if self.keyword is None else f"{self.keyword}={self.text}"


@dataclass
class Conversion:
    """Hold the arguments of the translated call, and the remarks on it.

    Attributes:
        arguments: the arguments of the translated call, in the order of the target's signature.
        messages: the remarks.
        modules: dotted names of the target's framework that the arguments use.
        values: the expressions that must be assigned to some of the names that `Context.in_place` lists.
    """

    arguments: list[NewArgument] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Return whether there is a translation."""
        return all(message.severity is not Severity.ERROR for message in self.messages)


@dataclass(frozen=True)
class Context:
    """Describe what surrounds the call.

    Attributes:
        source: the source text.
        bindings: the meanings of its names.
        values: the expressions that its names are assigned, for names with one assignment.
        nodes: every node of the source.
        parameters: the expression that stands for `params`; empty where it is not known.
        local: returns how to write the dotted name of a schedule there.
        in_place: the names whose value can be written anew where they are assigned it.
        repeatable: returns whether an expression that is assigned to a name certainly means the same at the call.
    """

    source: Source
    bindings: Bindings
    values: Mapping[str, ast.expr]
    nodes: Sequence[ast.AST] = ()
    parameters: str = ""
    local: Callable[[str], str] = str
    in_place: Collection[str] = ()
    repeatable: Callable[[ast.expr], bool] = field(default=lambda node: True)
