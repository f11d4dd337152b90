"""Explain the arguments that an original refuses; the original itself decides about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from mindspore import Parameter, Tensor, nn
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from adamcompat.hyperparameters import check_value, exception, unknown_keyword, with_original
from adamcompat.mapping import lens
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING

LearningRate: TypeAlias = float | Sequence[float] | Tensor | LearningRateSchedule | Callable[..., Any]
Rate: TypeAlias = float | Tensor
Beta: TypeAlias = float | Callable[[], float]
Decay: TypeAlias = float | nn.Cell
Parameters: TypeAlias = Iterable[Parameter] | Iterable[Mapping[str, Any]]


def listed(given: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return arguments with lists in place of iterators, which can be read only once.

    MindSpore reads what a group holds twice: of an iterator it finds nothing the second time, and so never trains the
    Parameters.

    Args:
        given: the arguments of a call by name, the Parameters among them.
        dialect: the facts of the original, whose names the arguments have.
    """
    keys = {fact.name for fact in dialect.groups if fact.canonical in ("group_parameters", "group_learning_rate")}
    found = {name: list(value) if _is_iterator(value) else value for name, value in given.items()}
    params = dialect.named("parameters")
    assert params is not None
    entries = found[params.name]
    if isinstance(entries, (list, tuple)):
        found[params.name] = [
            {key: list(value) if key in keys and _is_iterator(value) else value for key, value in entry.items()}
            if isinstance(entry, dict) and any(_is_iterator(entry.get(key)) for key in keys)
            else entry
            for entry in entries
        ]
    return found


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator) and not isinstance(value, Tensor)


def ignored_names(dialect: Dialect, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments that the original accepts and ignores: the second of a pair, with the first.

    Args:
        dialect: the facts of the original.
        given: the arguments of a call by name.
    """
    pairs = [conflict.pair for conflict in dialect.conflicts if conflict.original == "ignores"]
    return {second: first for first, second in pairs if given.get(first) is True and given.get(second) is True}


def ignored(adapter: Adapter, given: Mapping[str, Any]) -> list[str]:
    """Return sentences about the arguments that the original accepts and ignores.

    Args:
        adapter: the class that was called.
        given: its arguments by name.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    keys = [
        f"{adapter.name}: {dialect.target} accepts the key {key!r} of a group and ignores it without a word, and so "
        f"does this drop-in: leave it out"
        for key in _ignored_keys(dialect, given)
    ]
    return keys + [
        f"{adapter.name}: {first}=True and {second}=True exclude each other; {dialect.target} ignores {second} without "
        f"a word, and so does this drop-in: leave it out"
        for second, first in ignored_names(dialect, given).items()
    ]


def _ignored_keys(dialect: Dialect, given: Mapping[str, Any]) -> list[str]:
    """Return the keys of groups that MindSpore accepts from every optimizer, and that this one does nothing with."""
    params, known = dialect.named("parameters"), {fact.name for fact in dialect.groups}
    assert params is not None
    groups = [entry for entry in given[params.name] if isinstance(entry, Mapping)]
    # One that is False asks for nothing.
    asked = [key for group in groups for key, value in group.items() if key not in known and value is not False]
    return list(dict.fromkeys(asked))


def explained(
    error: Exception, adapter: Adapter, given: Mapping[str, Any], extra: Mapping[str, Any]
) -> Exception | None:
    """Return a clearer exception of the same type than the one that the original raised; None if nothing is clearer.

    Args:
        error: the original's exception.
        adapter: the class that was called.
        given: the arguments of its signature.
        extra: what came through ``**kwargs``.

    Returns:
        An exception with a text of ours that ends with the original's. It is about the argument that the original
        names, or about the only one that is wrong.
    """
    said = str(error).lower()
    found = [(names, better) for names, better in _faults(adapter, given, extra) if type(better) is type(error)]
    named = [better for names, better in found if any(name.lower() in said for name in names)]
    better = named[0] if named else found[0][1] if len(found) == 1 else None
    return None if better is None else type(better)(with_original(str(better.args[0]), error))


def refuse(adapter: Adapter, given: Mapping[str, Any], extra: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuse the arguments of a call, if anything is wrong with them.

    Args:
        adapter: the class that was called.
        given: the arguments of its signature.
        extra: what came through ``**kwargs``.

    Raises:
        The dialect's exceptions for the first argument that is unknown, of a wrong type, out of range, or excluded by
        another; KeyError for a group without Parameters.
    """
    for _, wrong in _faults(adapter, given, extra):
        raise wrong


def _faults(
    adapter: Adapter, given: Mapping[str, Any], extra: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Exception]]:
    """Yield an exception for each fault of the arguments, with the names by which the original may speak of it."""
    dialect = MAPPING.dialects[adapter.dialect]
    known = {fact.name: fact for fact in dialect.accepted}
    for name in extra:
        if name not in known:
            error = exception(dialect.errors.unknown_keyword)(unknown_keyword(name, adapter))
            yield (name, "keys"), error
    passed = dict(given) | {name: value for name, value in extra.items() if name in known}
    for name, value in passed.items():
        fact = known[name]
        look = _check_params if fact.type == "parameters" else _check_argument
        try:
            for part, item in lens.parts(fact, value, dialect):
                look(part, item, dialect)
        except Exception as wrong:
            spoken = ("param", "group", "order", "lr") if fact.type == "parameters" else ()
            yield (name, name.replace("_", " "), *spoken), wrong
    for conflict in dialect.conflicts:
        if conflict.original == "raises" and all(passed.get(name) is True for name in conflict.pair):
            first, second = conflict.pair
            text = (
                f"{adapter.name}: {first!r} and {second!r} exclude each other; set only one, "
                f"got {first}={passed[first]!r} and {second}={passed[second]!r}"
            )
            yield conflict.pair, exception(dialect.errors.conflict)(text)


def _check_argument(fact: ParameterFact, value: Any, dialect: Dialect) -> None:
    """Refuse a wrong value; one that the original takes may be called wrong here too.

    Raises:
        What the dialect raises for a wrong type or a value out of range.
    """
    wrong_type = exception(dialect.errors.wrong_type)
    if dialect.overrides:
        _check_setting(fact, value, dialect)
        return
    if fact.type not in ("learning_rate", "decay"):
        check_value(fact, value, dialect)
        return
    kind = LearningRateSchedule if fact.type == "learning_rate" else nn.Cell
    if isinstance(value, kind):
        return
    if isinstance(value, Tensor):
        if fact.type == "decay":
            raise wrong_type(f"{fact.name} must be a number or a Cell, got a Tensor: use float({fact.name})")
        if value.ndim > 1:
            raise exception(dialect.errors.out_of_range)(
                f"{fact.name} must have no axis (one rate) or one (a rate for each step), got shape {value.shape}"
            )
        return
    if callable(value):
        raise wrong_type(
            f"{fact.name} must be a number{', a list' if fact.type == 'learning_rate' else ''} or a "
            f"{kind.__name__} whose construct takes the step; got {value!r} ({type(value).__name__})"
        )
    if isinstance(value, str):
        text = f"{fact.name} must be a number, got the text {value!r}: write float({value!r})"
        raise (exception(dialect.errors.out_of_range) if fact.type == "learning_rate" else wrong_type)(text)
    if value is None or not isinstance(value, (float, int)):
        if fact.type == "learning_rate" and isinstance(value, Iterable) and getattr(value, "ndim", 1) == 1:
            _check_list(fact, list(value))
            return
        raise wrong_type(
            f"{fact.name} must be a number of Python{', a list' if fact.type == 'learning_rate' else ''} or a "
            f"{kind.__name__}, got {value!r} ({type(value).__name__})"
        )
    check_value(fact, float(value), dialect)


def _check_setting(fact: ParameterFact, value: Any, dialect: Dialect) -> None:
    """Refuse a wrong setting of a dialect whose groups hold every one.

    Raises:
        What the dialect raises for a wrong type or a value out of range.
    """
    if fact.type == "flag":
        return
    if fact.type == "learning_rate" and isinstance(value, Tensor):
        if value.ndim:
            raise exception(dialect.errors.out_of_range)(
                f"{fact.name} must be one number, got a Tensor of shape {value.shape}"
            )
        return
    if not isinstance(value, (int, float)):
        raise exception(dialect.errors.wrong_type)(
            f"{fact.name} must be a number of Python, got {value!r} ({type(value).__name__}): write float(...)"
        )
    check_value(fact, float(value), dialect)


def _check_list(fact: ParameterFact, values: list[Any]) -> None:
    for step, value in enumerate(values):
        wrong = _no_number(value)
        if wrong is not None:
            raise wrong(f"{fact.name}[{step}] must be a number, got {value!r} ({type(value).__name__})")


def _no_number(value: Any) -> type[Exception] | None:
    """Return the type of exception that ``float(value)`` raises; None where the value is a number."""
    try:
        float(value)
    except (TypeError, ValueError) as error:
        return type(error)
    return None


def _check_params(fact: ParameterFact, value: Any, dialect: Dialect) -> None:
    """Refuse Parameters or groups with which something is wrong.

    Raises:
        What the original raises for it.
    """
    wrong_type, out_of_range = exception(dialect.errors.wrong_type), exception(dialect.errors.out_of_range)
    entries = _listed(value, fact.name, dialect)
    grouped = [isinstance(entry, Mapping) for entry in entries]
    if any(grouped) and not all(grouped):
        raise wrong_type(f"{fact.name} mixes groups (dictionaries) and Parameters; use one or the other")
    if any(grouped) and dialect.overrides:
        _check_setting_groups(entries, fact.name, dialect)
        return
    if not any(grouped):
        _check_parameters(entries, fact.name, dialect)
        _check_unique(entries, exception(dialect.errors.repeated_parameter))
        return
    for number, entry in enumerate(entries):
        _check_group(number, entry, dialect)
    key = _key(dialect, "group_parameters")
    everyone = [parameter for group in entries for parameter in group.get(key, ())]
    if not everyone:
        raise out_of_range(f"no group of {fact.name} holds a Parameter")
    # Across groups MindSpore raises another type than for a plain list.
    _check_unique(everyone, RuntimeError)
    _check_order(entries, everyone, dialect)


def _check_setting_groups(groups: Sequence[Mapping[str, Any]], key: str, dialect: Dialect) -> None:
    """Refuse groups with which something is wrong, where groups may hold every setting and any other key."""
    known = {fact.name: fact for fact in dialect.accepted if fact.name != key}
    everyone: list[Any] = []
    for number, group in enumerate(groups):
        if key not in group:
            raise KeyError(f"group {number} has no {key!r}; its keys are {', '.join(map(repr, group)) or 'none'}")
        own = [group[key]] if isinstance(group[key], Parameter) else group[key]
        if isinstance(own, (set, frozenset)):
            raise exception(dialect.errors.wrong_type)(f"group {number} holds a set, which has no order; pass a list")
        everyone += _listed(own, f"{key!r} of group {number}", dialect)
        _check_parameters(everyone, f"{key!r} of group {number}", dialect)
        for name, value in group.items():
            for part, item in lens.parts(known[name], value, dialect) if name in known else ():
                _check_setting(part, item, dialect)
    _check_unique(everyone, exception(dialect.errors.repeated_parameter))


def _key(dialect: Dialect, canonical: str) -> str:
    return next(fact.name for fact in dialect.groups if fact.canonical == canonical)


def _check_group(number: int, entry: Mapping[str, Any], dialect: Dialect) -> None:
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
    for name, value in entry.items():
        fact, what = facts[name], f"{name!r} of group {number}"
        if fact.type == "parameters":
            _check_parameters(_listed(value, what, dialect), what, dialect)
        elif value is None:
            raise exception(dialect.errors.wrong_type)(f"{what} is None; leave the key out to use the optimizer's")
        else:
            _check_argument(fact, value, dialect)


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
