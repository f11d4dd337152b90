"""Hyperparameters in any dialect's names, turned into the keywords of one optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping as AbstractMapping
from typing import Any

from adamcompat.hyperparameters import Hyperparameters, resolve, unknown_keyword
from adamcompat.mapping.model import Adapter, Dialect, ParameterFact
from adamcompat.mapping.tables import MAPPING


def keywords(
    adapter: Adapter, given: AbstractMapping[str, Any], own: AbstractMapping[str, Any] | None = None
) -> dict[str, Any]:
    """Translate hyperparameters to the native keywords of an adapter's dialect.

    A name of the dialect itself keeps its meaning there; other names are canonical names or those
    of another dialect. A value that asks for nothing (its canonical neutral value) is left out
    where the dialect has no such parameter.

    Args:
        adapter: whose dialect, and for our classes which parameters they take beside it.
        given: names to values.
        own: keywords of the class that belong to no dialect; they pass.

    Raises:
        ValueError: a name is unknown, has no counterpart here, or two names mean the same.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    # An alias is replaced by what it stands for, a parameter that is borrowed by our own for the same meaning.
    direct = {fact.name for fact in dialect.accepted if fact.alias_of is None}
    direct |= {fact.name for _, fact in MAPPING.borrowed(adapter) if dialect.named(fact.canonical) is None}
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in given.items():
        if name in direct or name in (own or {}):
            here, fact = name, dialect.find(name)
        else:
            meant = _meant(name)
            if not meant:
                raise ValueError(unknown_keyword(name, adapter))
            fact = next((mine for other in meant if (mine := dialect.named(other.canonical)) is not None), None)
            if fact is None:
                _without_counterpart(name, value, meant[0], adapter)
                continue
            here = fact.name
        if here in found:
            raise ValueError(f"{sources[here]!r} and {name!r} both mean {here!r} of {dialect.title}; give one")
        sources[here] = name
        found[here] = _as_number(value, fact)
    return found


def _meant(name: str) -> list[ParameterFact]:
    """The parameters of any dialect that have that native or canonical name."""
    facts = [fact for dialect in MAPPING.dialects.values() for fact in dialect.accepted]
    canonical = [fact for fact in facts if fact.canonical == name]
    return canonical or [fact for fact in facts if fact.name == name]


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


def _as_number(value: Any, fact: ParameterFact | None) -> Any:
    """Whole numbers as floats where a dialect insists on them."""
    if fact is not None and fact.type in ("number", "float", "beta", "learning_rate", "decay"):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return value


def original(name: str, dialect: Dialect) -> Adapter:
    """Return what an original is as an adapter: its dialect, and nothing borrowed."""
    return Adapter(name=name, module="", runtime="", dialect=dialect.name, borrows=())


def canonical(adapter: Adapter, native: AbstractMapping[str, Any]) -> Hyperparameters:
    """The canonical, validated hyperparameters that native keywords stand for.

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
