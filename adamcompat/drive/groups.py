"""Read parameter groups of weights that are known by name or position."""

from __future__ import annotations

import difflib
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.groups import Arrangement, Group
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING


@dataclass(frozen=True, slots=True)
class Grouping:
    """Hold groups of weights.

    Attributes:
        entries: the groups with the dialect's own keys, and the positions of weights in place of tensors.
        order: the positions in the order in which the optimizer takes gradients.
        groups: the group of each weight, in the order of the weights.
    """

    entries: tuple[dict[str, Any], ...]
    order: tuple[int, ...]
    groups: tuple[Group, ...]


def parameter_names() -> tuple[str, ...]:
    """Return the names of the hyperparameter that holds groups: those of the parameter that takes them."""
    canonical = "parameters"
    native = [fact.name for dialect in MAPPING.dialects.values() if (fact := dialect.named(canonical)) is not None]
    return (canonical, *native)


def read_groups(value: Any, dialect: Dialect, names: Sequence[str], title: str) -> Grouping:
    """Read groups as a call in a dialect's convention would.

    Args:
        value: a list of dictionaries with the dialect's keys, or with their canonical names. Weights stand there by
            their names or positions, which count from 0.
        dialect: whose convention it is.
        names: of all weights.
        title: the optimizer, for errors.

    Returns:
        The groups, with positions in place of names.

    Raises:
        ValueError: the dialect has no groups, or a weight is unknown, in no group or in two.
        The dialect's exceptions for what else is wrong with a group; KeyError for an unknown key.

    >>> mindspore = MAPPING.dialects["mindspore"]
    >>> groups = [{"params": ["bias"], "lr": 0.1}, {"params": ["weight"]}]
    >>> read_groups(groups, mindspore, ["weight", "bias"], "mindspore").order
    (1, 0)
    """
    fact = dialect.named("parameters")
    if dialect.overrides:
        raise ValueError(
            f"{title}: groups of {dialect.title} may hold every setting, and are not driven here; leave "
            f"{parameter_names()[-1]!r} out, or drive each group by itself"
        )
    if fact is None or not dialect.groups:
        having = [other.name for other in MAPPING.dialects.values() if other.groups]
        raise ValueError(
            f"{title} takes no parameter groups: {dialect.title} has one set of hyperparameters for all weights. Leave "
            f"{parameter_names()[-1]!r} out here, or give it to optimizers in the style of {', '.join(having)} alone"
        )
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, AbstractMapping) for entry in value):
        example = {entry.name: 0.01 for entry in dialect.groups if entry.type == "learning_rate"}
        raise ValueError(
            f"{fact.name} must be a list of groups, such as {[{fact.name: [0, 1], **example}, {fact.name: [2]}]}, got "
            f"{value!r}"
        )
    entries = [_entry(number, entry, dialect, names) for number, entry in enumerate(value)]
    arranged = Arrangement(dialect, (int, str), "names or positions of weights", lambda position: position)(entries)
    for position, name in enumerate(names):
        count = arranged.variables.count(position)
        if count != 1:
            raise ValueError(f"weight {name!r} is {'in no group' if not count else 'listed twice'}; put each in one")
    return Grouping(
        tuple(entries),
        tuple(arranged.variables),
        tuple(arranged.groups[arranged.variables.index(position)] for position in range(len(names))),
    )


def _entry(number: int, entry: AbstractMapping[str, Any], dialect: Dialect, names: Sequence[str]) -> dict[str, Any]:
    """Return a group by native keys and positions.

    Unknown keys and wrong types are left for the arrangement to refuse.
    """
    found: dict[str, Any] = {}
    for key, value in entry.items():
        fact: ParameterFact | None = next((fact for fact in dialect.groups if key in (fact.name, fact.canonical)), None)
        native = key if fact is None else fact.name
        if native in found:
            raise ValueError(f"group {number} has {native!r} twice, the second time as {key!r}; give one")
        listed = fact is not None and fact.type == "parameters" and isinstance(value, (list, tuple))
        found[native] = [_position(number, weight, names) for weight in value] if listed else value
    return found


def _position(number: int, weight: Any, names: Sequence[str]) -> int:
    if isinstance(weight, str) and weight in names:
        return names.index(weight)
    if isinstance(weight, (int, np.integer)) and not isinstance(weight, bool) and 0 <= weight < len(names):
        return int(weight)
    close = difflib.get_close_matches(str(weight), names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"weights: {', '.join(names) or 'none'}"
    raise ValueError(f"group {number} lists the weight {weight!r}, which is neither a name nor a position; {hint}")
