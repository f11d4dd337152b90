"""Read parameter groups of PyTorch's calling convention, which may hold every setting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adamcompat.groups import stray_keys
from adamcompat.hyperparameters import exception, unchanging
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING

# Not possible but on PyTorch's tensors; accepted as False only.
NOT_HERE = ("differentiable", "capturable")


@dataclass(frozen=True, slots=True)
class Sort:
    """Describe the parameters of a runtime.

    Attributes:
        plural: what they are called in errors.
        wanted: what one must be, as errors say it.
        hint: how to come by one, as errors say it; may be empty.
        single: types of values that are no list of parameters.
        is_one: returns whether a value is a parameter.
        key: returns equal values for two parameters that are the same one.
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
        adapter: the class that was called.
        sort: the runtime's parameters.

    Attributes:
        dialect: the dialect of the class.
        params: the dialect's name of the parameter that takes what is to be updated.
    """

    def __init__(self, adapter: Adapter, sort: Sort) -> None:
        self._adapter = adapter
        self._sort = sort
        self.dialect: Dialect = MAPPING.dialects[adapter.dialect]
        fact = self.dialect.named("parameters")
        assert fact is not None
        self.params = fact.name

    def error(self, kind: str) -> type[Exception]:
        """Return the dialect's exception for a kind of mistake.

        Args:
            kind: the name of a field of `Errors`, such as ``wrong_type``.
        """
        return exception(getattr(self.dialect.errors, kind))

    def groups(self, value: Any) -> Iterator[dict[str, Any]]:
        """Yield the groups of a call: one where parameters are listed by themselves.

        Args:
            value: the value of the parameter that takes them: a list of parameters, or of dictionaries.

        Raises:
            The dialect's wrong_type: the value is no list, or mixes groups with something else.
            The dialect's out_of_range: the list is empty.
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
            number: the place of the group, counted from 0, for errors.
            group: the group, as it was given.
            taken: the keys of the parameters of other groups; those of this one are added.
            name: returns what to call a parameter in errors.

        Raises:
            The dialect's out_of_range: the group has no key for parameters.
            The dialect's wrong_type: the parameters are no list, or one of them is no parameter.
            The dialect's repeated_parameter: a parameter is in more than one place.
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
        """Return the settings of a group that a step reads, by the dialect's names.

        Args:
            group: its keys and values.
            whole: whether it must hold all settings.

        Raises:
            KeyError: it must hold all settings, and lacks one.
        """
        if whole:
            for fact in self.dialect.accepted:
                if fact.name not in group:
                    raise KeyError(f"a group has lost its {fact.name!r}, which every step reads; set it again")
        names = [fact.name for fact in self.dialect.accepted if fact.name != self.params]
        return unchanging({name: group[name] for name in names if name in group})

    def say_unknown(self, number: int, group: Mapping[str, Any], depth: int) -> None:
        """Warn of keys that a group keeps, that no step reads, and that look like settings.

        Args:
            number: the place of the group, counted from 0.
            group: the group, as it was given.
            depth: the stack level of the user's call, as `warnings.warn` counts it from here.
        """
        for text in stray_keys(number, group, self._adapter):
            warnings.warn(text, UserWarning, stacklevel=depth)


def settings_named(name: str) -> list[str]:
    """Return the canonical names of the settings that a name stands for in any dialect.

    Args:
        name: a keyword of some dialect, or anything else.

    >>> settings_named("betas"), settings_named("verbose")
    (['beta1', 'beta2'], [])
    """
    facts = [fact for dialect in MAPPING.dialects.values() if (fact := dialect.find(name)) is not None]
    meant = dict.fromkeys(part.canonical for fact in facts for part in fact.parts)
    return [canonical for canonical in meant if MAPPING.canonical[canonical].scope == "hyperparameter"]


def refuse_impossible(settings: Mapping[str, Any], dialect: Dialect, where: str) -> None:
    """Refuse settings that only PyTorch's own tensors make possible.

    Args:
        settings: the settings of a group, by the dialect's names.
        dialect: the dialect whose names and exceptions to use.
        where: the tensors that it is not possible with, as the error says it.

    Raises:
        The dialect's out_of_range: such a setting is on.
    """
    for canonical in NOT_HERE:
        fact = dialect.named(canonical)
        if fact is not None and settings.get(fact.name):
            raise exception(dialect.errors.out_of_range)(f"{fact.name}=True is not possible with {where}; leave it out")
