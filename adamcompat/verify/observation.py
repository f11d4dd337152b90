"""Hold what was found out about one original, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# A default that is not there, because the parameter is required.
REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Taken:
    """Hold a parameter that the original takes.

    Attributes:
        name: as the original spells it.
        default: its default, or REQUIRED.
        stands_for: for a keyword whose default is another parameter, the name of that one.
    """

    name: str
    default: Any
    stands_for: str | None = None


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """Hold one piece of state.

    Attributes:
        name: its name, with ``{parameter}`` for the parameter's.
        parameter: the position of its parameter, from 0, or None where it belongs to none.
        roles: what its value can be, judged by the value alone.
    """

    name: str
    parameter: int | None
    roles: tuple[str, ...]


@dataclass(slots=True)
class Observation:
    """Describe what one original is and does.

    Where a probe cannot tell values of the grammar apart, it gives all of those that fit; an empty
    tuple means that none does.

    Attributes:
        dialect: the dialect of the mapping that it is the original of.
        framework: the name of its framework, for the heading of a column.
        version: of that framework.
        failure: why not even a plain step can be made; then there is nothing beyond the signature.
        protocol: apply_gradients | step | call.
        kwargs: whether the signature ends in ``**kwargs``.
        methods: the arguments of each method that the mapping could name.
        parameters: the signature, in order.
        keywords: what is taken through ``**kwargs`` and not ignored.
        rates: what is taken as a learning rate beside a number.
        read_as_default: for each parameter the values among None and 0 that do what its default does.
        groups: the keys of a parameter group.
        accepts: for each parameter the kinds of values that pass: float, int, text, flag, schedule, function,
            functions.
        refused: for each parameter the numbers that were tried, and whether each was refused.
        meanings: for each parameter the canonical names that have its effect.
        conflicts: for each pair of parameters that do not go together: raises | ignores.
        errors: for each kind of mistake the exceptions that it got, most frequent first.
        stages: the stages that were seen.
        precedence: pairs of stages of which the first comes before the second.
        semantics: for each fact of the semantics the values that repeat what was seen.
        numerics: for each fact of the numerics the values that repeat what was seen.
        slots: the state, in order.
        slot_names: what the original itself calls kinds of state, and the roles of each.
        schedules: the arguments of each class or function that computes a learning rate, by its dotted name.
        unmeasured: for each fact that could not be measured, why.
    """

    dialect: str
    framework: str
    version: str
    failure: str = ""
    protocol: str = ""
    kwargs: bool = False
    methods: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: tuple[Taken, ...] = ()
    keywords: tuple[Taken, ...] = ()
    rates: tuple[str, ...] = ()
    read_as_default: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    accepts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refused: dict[str, dict[float, bool]] = field(default_factory=dict)
    meanings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    conflicts: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    precedence: frozenset[tuple[str, str]] = frozenset()
    semantics: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    numerics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    slots: tuple[SlotSeen, ...] = ()
    slot_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: dict[str, tuple[Taken, ...]] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)
