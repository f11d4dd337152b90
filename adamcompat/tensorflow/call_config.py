"""Write an optimizer with another framework's call as a configuration of Keras, and read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adamcompat.groups import Group
from adamcompat.mapping.model import Dialect
from adamcompat.tensorflow.call_state import Described, Private, label


def configuration(
    private: Private, dialect: Dialect, rate_variable: Any, parameters: Any, serialize: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return an optimizer's configuration: its hyperparameters under their own names, and its parameters by name.

    Args:
        private: the private data of the optimizer, with its settings and parameters.
        dialect: the API that it speaks.
        rate_variable: holds the learning rate; None where that is a schedule.
        parameters: the names of its parameters, or groups of names; None where the model brings them.
        serialize: Keras's function that describes a schedule.

    Returns:
        A dictionary that `read_configuration` reads.
    """
    rate, params = dialect.named("learning_rate"), dialect.named("parameters")
    assert rate is not None and params is not None
    native = {name: plain(private.hyper.native[name], serialize) for name in private.given}
    if rate_variable is not None:
        native[rate.name] = float(rate_variable)
    return {**native, params.name: parameters, "numerics": private.numerics.name}


def described(private: Private, dialect: Dialect, serialize: Callable[[Any], Any]) -> list[Any]:
    """Return the parameters of an optimizer with MindSpore's call, by name.

    Args:
        private: the private data of the optimizer, with its settings and parameters.
        dialect: the API that it speaks.
        serialize: Keras's function that describes a schedule.

    Returns:
        The names of the parameters in a list; or dictionaries with names and settings, where parameters are in groups.
    """
    if private.described is not None and not private.members:
        return entries_of(private.described, serialize)
    key = parameters_key(dialect)
    if any(_facts_of(group, dialect, serialize) for group in private.groups):
        return [
            {key: [label(private.variables[i])], **_facts_of(group, dialect, serialize)}
            for i, group in enumerate(private.groups[member.group] for member in private.members)
        ]
    names = [label(variable) for variable in private.variables]
    return [{key: names}] if private.arranged is not None and private.arranged.grouped else [*names]


def entries_of(described: Described, serialize: Callable[[Any], Any]) -> list[Any]:
    """Return parameters by name as a configuration holds them.

    Args:
        described: as one was read.
        serialize: Keras's function that describes a schedule.
    """
    return [
        {name: plain(value, serialize) for name, value in entry.items()} if isinstance(entry, dict) else entry
        for entry in described.entries
    ]


def parameters_key(dialect: Dialect) -> str:
    """Return a dialect's name of the entry of a group that holds its parameters.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> parameters_key(MAPPING.dialects["mindspore"])
    'params'
    """
    wanted = ("group_parameters", "parameters")
    return next(fact.name for fact in (*dialect.groups, *dialect.parameters) if fact.parts[0].canonical in wanted)


def group_key(dialect: Dialect, canonical: str) -> str:
    """Return a dialect's name of an entry of a parameter group.

    Args:
        dialect: the API whose groups they are.
        canonical: the meaning of the entry, such as ``"group_learning_rate"``.
    """
    return next(fact.name for fact in dialect.groups if fact.canonical == canonical)


def _facts_of(group: Group, dialect: Dialect, serialize: Callable[[Any], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if group.learning_rate is not None:
        found[group_key(dialect, "group_learning_rate")] = plain(group.learning_rate.given, serialize)
    if group.weight_decay is not None:
        found[group_key(dialect, "group_weight_decay")] = plain(group.weight_decay.given, serialize)
    if group.centralize:
        found[group_key(dialect, "group_centralization")] = True
    return found


def plain(value: Any, serialize: Callable[[Any], Any]) -> Any:
    """Return a value as a configuration holds it: schedules described, tuples as lists.

    Args:
        value: the value of a hyperparameter.
        serialize: Keras's function that describes a schedule.
    """
    if isinstance(value, tuple):
        return list(value)
    return serialize(value) if callable(value) else value


def read_configuration(config: dict[str, Any], dialect: Dialect, deserialize: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arguments that a configuration passes to the constructor; its parameters are `Described`.

    Args:
        config: as `configuration` gives it.
        dialect: the API that the optimizer speaks.
        deserialize: Keras's function that makes a schedule of its description.
    """
    params = dialect.named("parameters")
    assert params is not None
    found = _deserialized(config, deserialize)
    entries = found.pop(params.name)
    if entries is None:
        return {params.name: None, **found}
    parsed = [_deserialized(entry, deserialize) if isinstance(entry, dict) else entry for entry in entries]
    return {params.name: Described(parsed), **found}


def _deserialized(values: dict[str, Any], deserialize: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: deserialize(value) if isinstance(value, dict) else value for name, value in values.items()}


def found_among(variables: Sequence[Any], described: Described, dialect: Dialect) -> list[Any]:
    """Return the parameters that a configuration describes, or groups of them, as the constructor takes them.

    Args:
        variables: the variables that they are among.
        described: their names. Where names differ, but there are as many and no groups, the order counts.
        dialect: the API that the optimizer speaks.

    Raises:
        ValueError: the variables are other ones.
    """
    key, entries = parameters_key(dialect), described.entries
    names = [name for entry in entries for name in (entry[key] if isinstance(entry, dict) else [entry])]
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
    return [{**entry, key: [positions[next(taken)] for _ in entry[key]]} for entry in entries]


def _same_name(one: str, other: str) -> bool:
    """Return whether two paths name one variable: a model that is loaded has fewer or more folders around it."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")
