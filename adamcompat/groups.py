"""Read parameter groups: what a call in MindSpore's convention says about its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adamcompat.hyperparameters import check_value, exception, unknown_keyword
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule


@dataclass(slots=True)
class Group:
    """Hold the hyperparameters that parameters have in common.

    Attributes:
        learning_rate: None means the optimizer's own.
        weight_decay: of the optimizer's kind; None means the optimizer's own.
        centralize: whether each gradient loses its mean over all axes but the first.
    """

    learning_rate: Schedule | None = None
    weight_decay: Schedule | None = None
    centralize: bool = False


@dataclass(frozen=True, slots=True)
class Arranged:
    """Hold parameters in the order of their gradients.

    Attributes:
        variables: the parameters.
        groups: the group of each.
        grouped: whether the call had groups at all; name filters look at ungrouped parameters only.
    """

    variables: list[Any]
    groups: list[Group]
    grouped: bool


class Arrangement:
    """Read the parameters of a call for one runtime.

    Args:
        dialect: the dialect whose names and exceptions to use.
        single: types that are one parameter, not a list of parameters.
        plural: what the parameters are called in errors.
        key: returns equal values for two parameters that are the same one.
    """

    def __init__(self, dialect: Dialect, single: tuple[type, ...], plural: str, key: Callable[[Any], Any]) -> None:
        self._dialect = dialect
        self._single = single
        self._plural = plural
        self._key = key
        self._facts = {fact.canonical: fact for fact in dialect.groups}

    def __call__(self, value: Any) -> Arranged:
        """Read a list of parameters or of groups.

        Args:
            value: a list, or another iterable, of parameters or of dictionaries, each of which is a group. One of the
                groups may hold the order alone.

        Returns:
            The parameters with their groups, in the order of the gradients.

        Raises:
            The dialect's wrong_type: the value is no such list, or mixes groups and parameters; or a setting of a group
                is of a wrong type.
            The dialect's out_of_range: the list is empty, a setting of a group is out of range, or the order is not
                that of the parameters.
            KeyError: a group has a key that groups do not have, or lacks the key of its parameters.
        """
        fact = self._dialect.named("parameters")
        assert fact is not None
        entries = self._listed(value, fact.name)
        grouped = [isinstance(entry, Mapping) for entry in entries]
        if any(grouped) and not all(grouped):
            raise self._error("wrong_type")(
                f"{fact.name} mixes groups (dictionaries) and parameters; use one or the other"
            )
        if grouped[0]:
            return self._grouped(entries)
        shared = Group()
        return Arranged(entries, [shared] * len(entries), grouped=False)

    def _error(self, kind: str) -> type[Exception]:
        return exception(getattr(self._dialect.errors, kind))

    def _listed(self, value: Any, name: str) -> list[Any]:
        empty = f"{name} must not be empty; pass the list of {self._plural} to update"
        if value is None or (isinstance(value, (list, tuple)) and not value):
            raise self._error("out_of_range")(empty)
        if isinstance(value, (*self._single, Mapping, str)) or not isinstance(value, Iterable):
            raise self._error("wrong_type")(
                f"{name} must be a list of {self._plural}, or of groups; got {type(value).__name__}"
            )
        entries = list(value)
        if not entries:
            raise self._error("out_of_range")(empty)
        return entries

    def _grouped(self, entries: Sequence[Mapping[str, Any]]) -> Arranged:
        facts = self._facts
        known = {fact.name for fact in facts.values()}
        variables: list[Any] = []
        groups: list[Group] = []
        order: list[Any] | None = None
        for number, entry in enumerate(entries):
            for key in entry:
                if key not in known:
                    raise KeyError(f"group {number} has the key {key!r}; known keys: {', '.join(sorted(known))}")
            order_key = facts["group_order"].name
            if order_key in entry:
                if len(entry) > 1:
                    raise self._error("out_of_range")(f"{order_key!r} must be alone in its group, got {sorted(entry)}")
                order = self._listed(entry[order_key], order_key)
                continue
            parameters_key = facts["group_parameters"].name
            if parameters_key not in entry:
                raise KeyError(f"group {number} has no {parameters_key!r}")
            own = self._listed(entry[parameters_key], parameters_key)
            group = Group(
                self._value("group_learning_rate", entry),
                self._value("group_weight_decay", entry),
                bool(self._value("group_centralization", entry)),
            )
            variables += own
            groups += [group] * len(own)
        if not variables:
            raise self._error("out_of_range")("no group holds a parameter")
        if order is not None:
            variables, groups = self._ordered(variables, groups, order)
        return Arranged(variables, groups, grouped=True)

    def _value(self, canonical: str, entry: Mapping[str, Any]) -> Any:
        """Return the value of a key, or None where the group, or the dialect, has no such key."""
        fact = self._facts.get(canonical)
        return check_value(fact, entry[fact.name], self._dialect) if fact is not None and fact.name in entry else None

    def _ordered(self, variables: list[Any], groups: list[Group], order: list[Any]) -> tuple[list[Any], list[Group]]:
        if len(order) != len(variables):
            raise self._error("out_of_range")(
                f"the order lists {len(order)} parameters, but the groups hold {len(variables)}; list each once"
            )
        where = {self._key(variable): i for i, variable in enumerate(variables)}
        missing = [i for i, variable in enumerate(order) if self._key(variable) not in where]
        if missing:
            raise self._error("out_of_range")(f"parameter {missing[0]} of the order is in no group")
        positions = [where[self._key(variable)] for variable in order]
        return [variables[i] for i in positions], [groups[i] for i in positions]


def stated(dialect: Dialect, names: Sequence[str], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return groups as a call states them, with names in place of parameters; equal groups become one.

    Args:
        dialect: the dialect whose keys to use.
        names: the name of each parameter.
        groups: the group of each parameter, in the same order.

    Returns:
        One dictionary for each group, with the names of its parameters and the settings that are not the optimizer's
        own.
    """
    keys = {fact.canonical: fact.name for fact in dialect.groups}
    found: list[tuple[dict[str, Any], list[str]]] = []
    for name, group in zip(names, groups, strict=True):
        said: dict[str, Any] = {}
        if group.learning_rate is not None:
            said[keys["group_learning_rate"]] = group.learning_rate.given
        if group.weight_decay is not None:
            said[keys["group_weight_decay"]] = group.weight_decay.given
        if group.centralize:
            said[keys["group_centralization"]] = True
        members = next((members for known, members in found if known == said), None)
        if members is None:
            found.append((said, [name]))
        else:
            members.append(name)
    return [{keys["group_parameters"]: members, **said} for said, members in found]


def stray_keys(number: int, group: Mapping[str, Any], adapter: Adapter) -> Iterator[str]:
    """Yield a text for each key of a group that looks like a setting and that no step reads.

    Args:
        number: the place of the group, counted from 0, for the text.
        group: its keys and values.
        adapter: the class that has the group.

    Yields:
        Text that says what is wrong with a key, and what it may stand for.

    >>> adapter = MAPPING.adapter("numpy", "TorchStyleAdam")
    >>> print(*stray_keys(0, {"params": [], "lr": 0.1, "ep": 0.9, "mine": 1}, adapter))
    group 0 has the key 'ep', which no step reads: TorchStyleAdam has no parameter 'ep'; did you mean 'eps'?
    """
    known = {fact.name for fact in MAPPING.dialects[adapter.dialect].accepted}
    meant = {fact.name for dialect in MAPPING.dialects.values() for fact in (*dialect.accepted, *dialect.groups)}
    for name in group:
        if name in known:
            continue
        # For a wrong key only.
        from difflib import get_close_matches

        if name in meant or get_close_matches(str(name), known, 1, 0.8):
            yield f"group {number} has the key {name!r}, which no step reads: {unknown_keyword(name, adapter)}"
