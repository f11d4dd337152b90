"""Read parameter groups of PyTorch's calling convention, which may hold every setting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adamcompat.groups import stray_keys
from adamcompat.hyperparameters import exception
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING

# Not possible but on PyTorch's tensors; accepted as False only.
NOT_HERE = ("differentiable", "capturable")


@dataclass(frozen=True, slots=True)
class Sort:
    """Describe the parameters of a runtime.

    Attributes:
        plural: what they are called in errors.
        wanted: what one must be.
        hint: how to come by one; may be empty.
        single: types of values that are no list of parameters.
        is_one: tells whether a value is a parameter.
        key: what tells that two of them are the same one.
    """

    plural: str
    wanted: str
    hint: str
    single: tuple[type, ...]
    is_one: Callable[[Any], bool]
    key: Callable[[Any], Any]


class GroupReader:
    """Read the groups of one optimizer.

    Args:
        adapter: which class was called.
        sort: the runtime's parameters.
    """

    def __init__(self, adapter: Adapter, sort: Sort) -> None:
        self._adapter = adapter
        self._sort = sort
        self.dialect: Dialect = MAPPING.dialects[adapter.dialect]
        fact = self.dialect.named("parameters")
        assert fact is not None
        self.params = fact.name

    def error(self, kind: str) -> type[Exception]:
        """Return the dialect's exception for a kind of mistake."""
        return exception(getattr(self.dialect.errors, kind))

    def groups(self, value: Any) -> Iterator[dict[str, Any]]:
        """Yield the groups of a call: one where parameters are listed by themselves.

        Args:
            value: of the parameter that takes them.

        Raises:
            The dialect's exceptions: it is no list, is empty, or mixes groups with something else.
        """
        if isinstance(value, (*self._sort.single, str, Mapping)) or not isinstance(value, Iterable):
            raise self.error("wrong_type")(
                f"{self.params} must be a list of {self._sort.plural}, or of groups (dictionaries); got "
                f"{type(value).__name__}{self._advice(value)}"
            )
        entries = list(value)
        if not entries:
            raise self.error("out_of_range")(f"{self.params} is empty; pass the {self._sort.plural} to update")
        if not isinstance(entries[0], Mapping):
            entries = [{self.params: entries}]
        for number, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise self.error("wrong_type")(
                    f"entry {number} of {self.params} is no group (dictionary), as the first is, but "
                    f"{type(entry).__name__}; use one or the other"
                )
            yield dict(entry)

    def _advice(self, value: Any) -> str:
        if isinstance(value, Mapping) or self._sort.is_one(value):
            return f": write [{self.params}]"
        return f"; {self._sort.hint}" if self._sort.hint else ""

    def members(self, number: int, group: Mapping[str, Any], taken: set[Any], name: Callable[[Any], str]) -> list[Any]:
        """Return the parameters of one group.

        Args:
            number: of the group, for errors.
            group: as it was given.
            taken: the keys of the parameters of other groups; those of this one are added.
            name: of a parameter, for errors.

        Raises:
            The dialect's exceptions: there are none, one is no parameter, or one is in more than one place.
        """
        if self.params not in group:
            raise self.error("out_of_range")(
                f"group {number} has no {self.params!r}; its keys are {', '.join(map(repr, group)) or 'none'}"
            )
        value, sort = group[self.params], self._sort
        if isinstance(value, set):
            raise self.error("wrong_type")(f"group {number} holds a set, which has no order; pass a list")
        entries = [value] if sort.is_one(value) else value
        if isinstance(entries, (*sort.single, str, Mapping)) or not isinstance(entries, Iterable):
            raise self.error("wrong_type")(
                f"{self.params!r} of group {number} must be a list of {sort.plural}, got {type(value).__name__}"
            )
        found = list(entries)
        for place, parameter in enumerate(found):
            if not sort.is_one(parameter):
                raise self.error("wrong_type")(
                    f"entry {place} of group {number} must be {sort.wanted}, got {type(parameter).__name__}"
                    + (f"; {sort.hint}" if sort.hint else "")
                )
            if sort.key(parameter) in taken:
                raise self.error("repeated_parameter")(
                    f"{name(parameter)} is in more than one place; put each parameter into one group, once"
                )
            taken.add(sort.key(parameter))
        return found

    def settings(self, group: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
        """Return what a group holds of the settings that a step reads.

        Args:
            group: its keys and values.
            whole: whether it must hold all of them.

        Raises:
            KeyError: one was removed.
        """
        if whole:
            for fact in self.dialect.accepted:
                if fact.name not in group:
                    raise KeyError(f"a group has lost its {fact.name!r}, which every step reads; set it again")
        return {
            fact.name: group[fact.name]
            for fact in self.dialect.accepted
            if fact.name in group and fact.name != self.params
        }

    def say_unknown(self, number: int, group: Mapping[str, Any], depth: int) -> None:
        """Warn of keys that a group keeps, and that look like settings.

        Args:
            number: of the group.
            group: as it was given.
            depth: how far away the user's call is from the body of this function.
        """
        for text in stray_keys(number, group, self._adapter):
            warnings.warn(text, UserWarning, stacklevel=depth)


def settings_named(name: str) -> list[str]:
    """Return the canonical names of the settings that a name stands for in any dialect.

    >>> settings_named("betas"), settings_named("verbose")
    (['beta1', 'beta2'], [])
    """
    facts = [fact for dialect in MAPPING.dialects.values() if (fact := dialect.find(name)) is not None]
    meant = dict.fromkeys(part.canonical for fact in facts for part in fact.parts)
    return [canonical for canonical in meant if MAPPING.canonical[canonical].scope == "hyperparameter"]


def refuse_impossible(settings: Mapping[str, Any], dialect: Dialect, where: str) -> None:
    """Refuse what needs PyTorch's own tensors.

    Args:
        settings: those of a group, by the dialect's names.
        dialect: whose names and exceptions to use.
        where: the tensors that it is not possible with.

    Raises:
        The dialect's exception: something is set.
    """
    for canonical in NOT_HERE:
        fact = dialect.named(canonical)
        if fact is not None and settings.get(fact.name):
            raise exception(dialect.errors.out_of_range)(f"{fact.name}=True is not possible with {where}; leave it out")
