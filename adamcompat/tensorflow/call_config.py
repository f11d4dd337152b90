"""Write an optimizer with MindSpore's call as a configuration of Keras, and read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adamcompat.groups import Group
from adamcompat.mapping.model import Dialect
from adamcompat.tensorflow.call_state import Described, Private, label


def configuration(
    private: Private, dialect: Dialect, rate_variable: Any, serialize: Callable[[Any], Any]
) -> dict[str, Any]:
    """The hyperparameters under their own names, parameters by name.

    Args:
        private: of the optimizer.
        dialect: what it speaks.
        rate_variable: holds the learning rate; None where that is a schedule.
        serialize: Keras's.
    """
    rate, params = dialect.named("learning_rate"), dialect.named("parameters")
    assert rate is not None and params is not None
    native = {name: _plain(private.hyper.native[name], serialize) for name in private.given}
    if rate_variable is not None:
        native[rate.name] = float(rate_variable)
    described: list[Any]
    if private.described is not None and not private.members:
        described = private.described.entries
    elif any(_facts_of(group, dialect, serialize) for group in private.groups):
        described = [
            {
                group_key(dialect, "group_parameters"): [label(private.variables[i])],
                **_facts_of(group, dialect, serialize),
            }
            for i, group in enumerate(private.groups[member.group] for member in private.members)
        ]
    else:
        described = [label(variable) for variable in private.variables]
        if private.arranged is not None and private.arranged.grouped:
            described = [{group_key(dialect, "group_parameters"): described}]
    return {**native, params.name: described, "numerics": private.numerics.name}


def group_key(dialect: Dialect, canonical: str) -> str:
    """Return what a dialect calls an entry of a parameter group."""
    return next(fact.name for fact in dialect.groups if fact.canonical == canonical)


def _facts_of(group: Group, dialect: Dialect, serialize: Callable[[Any], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if group.learning_rate is not None:
        found[group_key(dialect, "group_learning_rate")] = _plain(group.learning_rate.given, serialize)
    if group.weight_decay is not None:
        found[group_key(dialect, "group_weight_decay")] = _plain(group.weight_decay.given, serialize)
    if group.centralize:
        found[group_key(dialect, "group_centralization")] = True
    return found


def _plain(value: Any, serialize: Callable[[Any], Any]) -> Any:
    return serialize(value) if callable(value) else value


def read_configuration(config: dict[str, Any], dialect: Dialect, deserialize: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what a configuration passes to the constructor; its parameters are `Described`.

    Args:
        config: what `configuration` gave.
        dialect: what the optimizer speaks.
        deserialize: Keras's.
    """
    params = dialect.named("parameters")
    assert params is not None
    found = {name: deserialize(value) if isinstance(value, dict) else value for name, value in config.items()}
    entries = found.pop(params.name)
    keep = dialect.groups
    parsed = [
        {
            fact.name: deserialize(entry[fact.name]) if isinstance(entry[fact.name], dict) else entry[fact.name]
            for fact in keep
            if fact.name in entry
        }
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]
    return {params.name: Described(parsed), **found}


def found_among(variables: Sequence[Any], described: Described, dialect: Dialect) -> list[Any]:
    """Return the parameters that a configuration describes, or groups of them, as the constructor takes them.

    Args:
        variables: among which they are.
        described: their names.
        dialect: what the optimizer speaks.

    Raises:
        ValueError: the variables are other ones.
    """
    fact = next(fact for fact in dialect.groups if fact.canonical == "group_parameters")
    entries = described.entries
    names = [name for entry in entries for name in (entry[fact.name] if isinstance(entry, dict) else [entry])]
    labels = [label(variable) for variable in variables]
    matches = [[i for i, own in enumerate(labels) if _same_name(name, own)] for name in names]
    if sorted(i for match in matches for i in match) == list(range(len(labels))) and all(map(len, matches)):
        positions = {i: variables[match[0]] for i, match in enumerate(matches)}
    elif len(names) == len(labels) and not isinstance(entries[0], dict):
        positions = dict(enumerate(variables))
    else:
        raise ValueError(
            f"this optimizer was saved for the parameters {names}, but is built with {labels}; build it with the "
            f"same ones"
        )
    if not isinstance(entries[0], dict):
        return [positions[i] for i in range(len(names))]
    taken = iter(range(len(names)))
    return [{**entry, fact.name: [positions[next(taken)] for _ in entry[fact.name]]} for entry in entries]


def _same_name(one: str, other: str) -> bool:
    """Return whether two paths name one variable: a model that is loaded has fewer or more folders around it."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")
