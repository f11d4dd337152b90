"""Hold what goes into the conversion of a call, and what comes out of it."""

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
    """Hold what one hyperparameter is set to.

    Attributes:
        fact: the parameter of the source.
        text: the expression.
        value: what it evaluates to, or UNKNOWN.
        node: the expression, parsed; None for a default.
        position: the argument that it stands in; None for a default.
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
        """Return whether the call says it, rather than the default."""
        return self.node is not None

    @property
    def effective(self) -> Any:
        """The value, where None means the value that changes nothing."""
        return MAPPING.canonical[self.fact.canonical].neutral if self.value is None else self.value

    @property
    def matters(self) -> bool:
        """Return whether it may change anything."""
        return self.value is UNKNOWN or self.effective != MAPPING.canonical[self.fact.canonical].neutral

    def __str__(self) -> str:
        return f"{self.fact.name}={self.text}"


@dataclass(frozen=True, slots=True)
class NewArgument:
    """One argument of the translated call.

    Attributes:
        keyword: its keyword, or None where it is positional.
        text: the expression.
        position: the argument of the original call that it comes from, or None.
        beside: other arguments that it comes from.
    """

    keyword: str | None
    text: str
    position: int | None
    beside: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text if self.keyword is None else f"{self.keyword}={self.text}"


@dataclass
class Conversion:
    """The arguments of the translated call and what there is to say about them.

    Attributes:
        arguments: of the translated call.
        messages: what there is to say.
        modules: dotted names that the arguments use.
        values: what must be assigned to the names that `Context.in_place` lists.
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
        source: the source.
        bindings: what its names stand for.
        values: what they are assigned, for those with one assignment.
        nodes: every node of the source.
        parameters: the expression that stands for `params`, where it is known.
        local: how to write the dotted name of a schedule there.
        in_place: the names whose value can be written anew where they are assigned it.
        repeatable: whether an expression that is assigned to a name certainly means the same at the call.
    """

    source: Source
    bindings: Bindings
    values: Mapping[str, ast.expr]
    nodes: Sequence[ast.AST] = ()
    parameters: str = ""
    local: Callable[[str], str] = str
    in_place: Collection[str] = ()
    repeatable: Callable[[ast.expr], bool] = field(default=lambda node: True)
