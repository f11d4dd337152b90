"""Turn hyperparameters in any dialect's names into the keywords of one optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping as AbstractMapping
from typing import Any

from adamcompat.hyperparameters import Hyperparameters, resolve, unknown_keyword
from adamcompat.kinds import told
from adamcompat.mapping import lens
from adamcompat.mapping.facts import Fact, ParameterFact
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING


def check_hyperparameters(given: object, what: str) -> None:
    """Refuse hyperparameters that are no dictionary by name.

    Args:
        given: the hyperparameters.
        what: what to call them in an error.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(given, AbstractMapping):
        raise TypeError(f"{what} must be a dictionary, such as {{'epsilon': 1e-8}}; got {told(given)}")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"{what} must have names as keys; got {told(key)}")


def keywords(
    adapter: Adapter,
    given: AbstractMapping[str, Any],
    own: AbstractMapping[str, Any] | None = None,
    beneath: AbstractMapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Translate hyperparameters to the native keywords of an adapter's dialect.

    A name of the dialect itself keeps its meaning there; other names are canonical names or those
    of another dialect. A value that asks for nothing (its canonical neutral value) is left out
    where the dialect has no such parameter.

    Args:
        adapter: whose dialect, and for our classes which parameters they take beside it.
        given: names to values.
        own: keywords of the class that belong to no dialect; they pass.
        beneath: native keywords that hold where `given` says nothing.

    Returns:
        Native names to values, with the keywords of `own` that are given.

    Raises:
        ValueError: a name is unknown, has no counterpart here, or two names mean the same.
        The dialect's exceptions for a tuple that is none.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    # An alias is replaced by what it stands for, a parameter that is borrowed by our own for the same meaning.
    others = [fact for _, fact in MAPPING.borrowed(adapter)]
    borrowed = [fact for fact in others if not any(dialect.named(part.canonical) for part in fact.parts)]
    direct = {fact.name: fact for fact in (*borrowed, *dialect.accepted) if fact.alias_of is None}
    known = {part.canonical: part for fact in direct.values() for part in fact.parts}
    found: dict[str, Any] = {}
    passed: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in given.items():
        if name in direct:
            fact: Fact = direct[name]
        elif name in (own or {}):
            passed[name] = value
            continue
        else:
            fact = _meant(name, known, adapter)
        for part, item in lens.parts(fact, value, dialect):
            here = known.get(part.canonical)
            if here is None:
                _without_counterpart(name if part is fact else part.name, item, part, adapter)
                continue
            if part.canonical in found:
                first = sources[part.canonical]
                raise ValueError(f"{first!r} and {name!r} both mean {here.name!r} of {dialect.title}; give one")
            sources[part.canonical] = name
            found[part.canonical] = _as_number(item, here)
    under = lens.to_canonical(dialect, beneath or {}, others)
    return lens.to_native(dialect, under | found, borrowed) | passed


def _meant(name: str, known: AbstractMapping[str, ParameterFact], adapter: Adapter) -> Fact:
    """Return the parameter of any dialect that has that name; one whose meaning is known here, if there is one."""
    accepted = [fact for dialect in MAPPING.dialects.values() for fact in dialect.accepted]
    canonical: list[Fact] = [part for fact in accepted for part in fact.parts if part.canonical == name]
    meant = canonical or [fact for fact in accepted if fact.name == name]
    if not meant:
        raise ValueError(unknown_keyword(name, adapter))
    return next((fact for fact in meant if any(part.canonical in known for part in fact.parts)), meant[0])


def _without_counterpart(name: str, value: Any, fact: ParameterFact, adapter: Adapter) -> None:
    neutral = MAPPING.canonical[fact.canonical].neutral
    # Truth values and numbers are told apart: 0 asks for no decay, and is not "False".
    if value is None or (type(value) is type(neutral) and value == neutral) or (neutral == 0.0 and value == 0):
        return
    if fact.absent == "ignore":
        return
    if fact.absent == "warn":
        warnings.warn(f"{adapter.name} has no counterpart of {name!r}; it is left out", UserWarning, stacklevel=4)
        return
    raise ValueError(
        f"{adapter.name} has no counterpart of {name!r} ({MAPPING.canonical[fact.canonical].about}) "
        f"Leave it out here, or give it to the optimizers that have it"
    )


def _as_number(value: Any, fact: ParameterFact) -> Any:
    """Return whole numbers as floats where a dialect insists on them."""
    if fact.type in ("number", "float", "beta", "learning_rate", "decay"):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return value


def original(name: str, dialect: Dialect) -> Adapter:
    """Return what an original is as an adapter: its dialect, and nothing borrowed.

    Args:
        name: of the original in the catalogue.
        dialect: in which it is called.
    """
    return Adapter(name=name, module="", runtime="", dialect=dialect.name, borrows=())


def canonical(adapter: Adapter, native: AbstractMapping[str, Any]) -> Hyperparameters:
    """Return the canonical, validated hyperparameters that native keywords stand for.

    Args:
        adapter: the class that is called.
        native: its keywords by its own names.

    Raises:
        The dialect's exceptions for wrong types, values out of range and conflicts.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    signature = {fact.name for fact in dialect.parameters}
    if not adapter.module or adapter.replaces(dialect):
        # What an original reads as its default; our styles refuse it.
        facts = {name: dialect.find(name) for name in native}
        read = {name: fact.default for name, fact in facts.items() if fact and fact.reads_as_default(native[name])}
        native = {**native, **read}
    return resolve(
        adapter,
        {name: value for name, value in native.items() if name in signature},
        {name: value for name, value in native.items() if name not in signature},
    )
