"""The arguments of nn.Adam, checked before nn.Adam sees them: the same exceptions, clearer texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mindspore import Parameter, Tensor, nn
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from adamcompat.hyperparameters import check_value, exception, resolve
from adamcompat.mapping.model import Adapter, Dialect, ParameterFact
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.batch import STORAGE

LearningRate: TypeAlias = float | Sequence[float] | Tensor | LearningRateSchedule | Callable[..., Any]
Beta: TypeAlias = float | Callable[[], float]
Decay: TypeAlias = float | nn.Cell
Parameters: TypeAlias = Iterable[Parameter] | Iterable[Mapping[str, Any]]


def checked(adapter: Adapter, given: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for nn.Adam.

    Args:
        adapter: the class that was called.
        given: the arguments of its signature.
        extra: what came through ``**kwargs``.

    Raises:
        The exceptions that nn.Adam raises for the same mistakes.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    plain = dict(given)
    params = dialect.named("parameters")
    assert params is not None
    plain[params.name] = None
    passed = dict(given) | dict(extra)
    for fact in dialect.accepted:
        if fact.name in passed and fact.type in ("learning_rate", "decay"):
            passed[fact.name], plain[fact.name] = _schedule(fact, passed[fact.name], dialect)
    resolve(adapter, plain, extra)
    passed[params.name] = _parameters(passed[params.name], params, dialect)
    return passed


def _schedule(fact: ParameterFact, value: Any, dialect: Dialect) -> tuple[Any, Any]:
    """A learning rate or decay as nn.Adam takes it, and as the checks of every runtime take it."""
    wrong_type = exception(dialect.errors.wrong_type)
    kind = LearningRateSchedule if fact.type == "learning_rate" else nn.Cell
    if isinstance(value, kind):
        return value, value
    if callable(value) and not isinstance(value, Tensor):
        raise wrong_type(
            f"{fact.name} must be a number{', a list' if fact.type == 'learning_rate' else ''} or a "
            f"{kind.__name__} whose construct takes the step; got {value!r} ({type(value).__name__})"
        )
    if isinstance(value, Tensor):
        if fact.type == "decay":
            raise wrong_type(f"{fact.name} must be a number or a Cell, got a Tensor: use float({fact.name})")
        if value.ndim > 1:
            raise exception(dialect.errors.out_of_range)(
                f"{fact.name} must have no axis (one rate) or one (a rate for each step), got shape {value.shape}"
            )
        return value, value.asnumpy()
    if (
        isinstance(value, Iterable)
        and not isinstance(value, (str, bytes, Mapping))
        and getattr(value, "ndim", None) != 0
    ):
        value = list(value)
    elif getattr(value, "ndim", None) == 0:
        value = float(value)
    return value, value


def _parameters(value: Any, fact: ParameterFact, dialect: Dialect) -> list[Any]:
    wrong_type, out_of_range = exception(dialect.errors.wrong_type), exception(dialect.errors.out_of_range)
    entries = _listed(value, fact.name, dialect)
    grouped = [isinstance(entry, Mapping) for entry in entries]
    if any(grouped) and not all(grouped):
        raise wrong_type(f"{fact.name} mixes groups (dictionaries) and Parameters; use one or the other")
    if not any(grouped):
        _check_parameters(entries, fact.name, dialect)
        _check_unique(entries, exception(dialect.errors.repeated_parameter))
        return entries
    groups = [_group(number, entry, dialect) for number, entry in enumerate(entries)]
    key = _key(dialect, "group_parameters")
    everyone = [parameter for group in groups for parameter in group.get(key, ())]
    if not everyone:
        raise out_of_range(f"no group of {fact.name} holds a Parameter")
    # Across groups nn.Adam raises another type than for a plain list.
    _check_unique(everyone, RuntimeError)
    _check_order(groups, everyone, dialect)
    return groups


def _key(dialect: Dialect, canonical: str) -> str:
    return next(fact.name for fact in dialect.groups if fact.canonical == canonical)


def _group(number: int, entry: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    facts = {fact.name: fact for fact in dialect.groups}
    for name in entry:
        if name not in facts:
            raise KeyError(f"group {number} has the key {name!r}; known keys: {', '.join(facts)}")
    order, parameters = _key(dialect, "group_order"), _key(dialect, "group_parameters")
    if order in entry:
        if len(entry) > 1:
            raise exception(dialect.errors.out_of_range)(
                f"{order!r} must be alone in its group, got the keys {', '.join(map(repr, entry))}; "
                f"give it a dictionary of its own"
            )
    elif parameters not in entry:
        raise KeyError(f"group {number} has no {parameters!r}; known keys: {', '.join(facts)}")
    group = dict(entry)
    for name, value in entry.items():
        fact, what = facts[name], f"{name!r} of group {number}"
        if fact.type == "parameters":
            group[name] = _listed(value, what, dialect)
            _check_parameters(group[name], what, dialect)
        else:
            plain = value
            if fact.type in ("learning_rate", "decay"):
                group[name], plain = _schedule(fact, value, dialect)
            if value is None:
                raise exception(dialect.errors.wrong_type)(f"{what} is None; leave the key out to use the optimizer's")
            check_value(fact, plain, dialect)
    return group


def _listed(value: Any, name: str, dialect: Dialect) -> list[Any]:
    if value is None:
        raise exception(dialect.errors.out_of_range)(f"{name} must not be None; pass net.trainable_params()")
    if isinstance(value, (Tensor, Mapping, str)) or not isinstance(value, Iterable):
        raise exception(dialect.errors.wrong_type)(
            f"{name} must be a list of Parameters, or of groups; got {type(value).__name__}: write [{name}]"
        )
    entries = list(value)
    if not entries:
        raise exception(dialect.errors.out_of_range)(f"{name} must not be empty; pass net.trainable_params()")
    return entries


def _check_parameters(entries: Sequence[Any], what: str, dialect: Dialect) -> None:
    for index, entry in enumerate(entries):
        if not isinstance(entry, Parameter):
            raise exception(dialect.errors.wrong_type)(
                f"entry {index} of {what} must be a mindspore.Parameter, got {type(entry).__name__}; "
                f"wrap a Tensor as Parameter(tensor, name='...')"
            )
        if entry.dtype not in STORAGE:
            raise exception(dialect.errors.wrong_type)(
                f"the parameter {entry.name!r} is {entry.dtype}, but only {', '.join(map(str, STORAGE))} can be updated"
            )


def _check_unique(parameters: Sequence[Any], error: type[Exception]) -> None:
    seen: set[str] = set()
    for parameter in parameters:
        if parameter.name in seen:
            raise error(f"the parameter {parameter.name!r} is passed twice; pass each once, and give each its own name")
        seen.add(parameter.name)


def _check_order(groups: Sequence[Mapping[str, Any]], everyone: Sequence[Any], dialect: Dialect) -> None:
    out_of_range, key = exception(dialect.errors.out_of_range), _key(dialect, "group_order")
    for order in (group[key] for group in groups if key in group):
        if len(order) != len(everyone):
            raise out_of_range(
                f"{key!r} lists {len(order)} parameters, but the groups hold {len(everyone)}; list each once"
            )
        known = {parameter.name for parameter in everyone}
        for parameter in order:
            if parameter.name not in known:
                raise out_of_range(f"{key!r} lists {parameter.name!r}, which is in no group")
