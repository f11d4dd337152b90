"""Hold the canonical, validated hyperparameters. They have no defaults: a default belongs to a dialect."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Collection
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np

from adamcompat.mapping import lens
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.model import Adapter, Conflict, Dialect, Numerics
from adamcompat.mapping.model import exception as exception
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule

# What decides which state there is cannot change once there is state.
FIXED_BY_STATE = ("amsgrad", "use_ema", "accumulation_steps")
_NUMBER_TYPES = ("number", "float", "integer", "beta")


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Hold the settings of one optimizer, under canonical names.

    Attributes:
        values: canonical name to value, for every hyperparameter there is. One that the dialect does not have holds its
            neutral value.
        schedules: canonical name to schedule, for those that may change from step to step.
        native: the dialect's own names to the values that were given, or to its defaults.
    """

    values: dict[str, Any]
    schedules: dict[str, Schedule]
    native: dict[str, Any] = field(compare=False)

    def __getitem__(self, canonical: str) -> Any:
        return self.values[canonical]


def unknown_keyword(name: str, adapter: Adapter, dialect: Dialect | None = None) -> str:
    """Return text that says what is wrong with a keyword, and what it is called here.

    Args:
        name: the keyword, which the class does not take.
        adapter: the class that was given it.
        dialect: the dialect of the class, where it is none of the mapping's.

    Returns:
        The text. It names the libraries that know the keyword, and the class's own name for it; where no library knows
        it, the most similar keyword of the class, or all of them.
    """
    dialect = dialect or MAPPING.dialects[adapter.dialect]
    # The attributes of an operator are not what anybody calls a class with.
    classes = [one for one in MAPPING.dialects.values() if one.name != dialect.name and one.protocol != "node"]
    found = [(other, other.find(name)) for other in classes]
    elsewhere = [(other, fact) for other, fact in found if fact is not None]
    if elsewhere:
        # A dialect that extends another has the name from there.
        names = {other.name for other, _ in elsewhere}
        libraries = dict.fromkeys(other.library for other, _ in elsewhere if other.extends not in names)
        *others, last = (f"{library}'s" for library in libraries)
        whose = f"{', '.join(others)} and {last}" if others else last
        meant = [[dialect.named(part.canonical) for part in fact.parts] for _, fact in elsewhere]
        here = next((mine for mine in meant if any(mine)), [])
        own = " and ".join(repr(fact.name) for fact in here if fact is not None)
        what = f"here it is {own}" if own else f"{adapter.name} has no counterpart"
        return f"{name!r} is {whose} name; {what}"
    known = [fact.name for fact in dialect.accepted]
    # For a wrong keyword only.
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"{adapter.name} has no parameter {name!r}; {hint}"


def check_value(fact: ParameterFact, value: Any, dialect: Dialect) -> Any:
    """Return one value as the optimizer uses it, once it is found right.

    Args:
        fact: the parameter, or the element of a tuple, that the value is for.
        value: as it was given.
        dialect: the dialect whose exceptions to raise.

    Returns:
        A `Schedule` for a learning rate, a decay and a callable beta; an int or float for another number; the value
        itself for a flag, text or functions; None where None is given and is the default.

    Raises:
        The dialect's wrong_type: the value is of a wrong type.
        The dialect's out_of_range: the value is outside the parameter's range, or not finite.
    """
    wrong_type, out_of_range = exception(dialect.errors.wrong_type), exception(dialect.errors.out_of_range)
    if value is None and fact.default is None and not fact.required:
        return None
    if fact.type in ("learning_rate", "decay") or (fact.type == "beta" and callable(value)):
        if fact.type == "decay" and not callable(value) and not _is_number(value):
            raise wrong_type(f"{fact.name} must be a number or a callable of the step, got {value!r}")
        return Schedule(value, fact.name, fact.range, wrong_type, out_of_range)
    if fact.type == "flag":
        if not isinstance(value, bool):
            raise wrong_type(f"{fact.name} must be True or False, got {value!r} ({type(value).__name__})")
        return value
    if fact.type == "text":
        if not isinstance(value, str):
            raise wrong_type(f"{fact.name} must be text, got {value!r} ({type(value).__name__})")
        return value
    if fact.type == "function":
        if not callable(value):
            raise wrong_type(f"{fact.name} must be a function, got {value!r} ({type(value).__name__})")
        return value
    if fact.type == "functions":
        if not isinstance(value, (list, tuple)) or not all(map(callable, value)):
            raise wrong_type(f"{fact.name} must be a list of functions, got {value!r} ({type(value).__name__})")
        return value
    assert fact.type in _NUMBER_TYPES, fact
    if not _is_number(value):
        raise wrong_type(f"{fact.name} must be a number, got {value!r} ({type(value).__name__})")
    if fact.type == "float" and not isinstance(value, float):
        raise wrong_type(f"{fact.name} must be a float, got {value!r} ({type(value).__name__}): write float({value!r})")
    if fact.type == "integer" and not isinstance(value, numbers.Integral):
        raise wrong_type(f"{fact.name} must be a whole number, got {value!r} ({type(value).__name__})")
    try:
        size = float(value)
    except OverflowError:
        size = math.inf
    number = int(value) if fact.type == "integer" else size
    if not math.isfinite(size) or (fact.range is not None and not fact.range.contains(number)):
        raise out_of_range(f"{fact.name} must lie in {fact.range or 'the finite numbers'}, got {value!r}")
    return number


def _is_number(value: Any) -> bool:
    """Return whether a value is a real number or an array without axes that holds one; truth values are not."""
    if isinstance(value, numbers.Real):
        # NumPy counts spans of time among the whole numbers.
        return not isinstance(value, (bool, np.timedelta64))
    return getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "") in "iuf"


def named_numerics(name: str, adapter: Adapter) -> Numerics:
    """Return a way of rounding by its name in the mapping.

    Args:
        name: the name, such as ``keras3``.
        adapter: the class that was called. Where the numerics of its dialect extend those of that name, they are meant.

    Raises:
        ValueError: there are no such numerics, or the class does not round like that.

    >>> named_numerics("mindspore", MAPPING.adapter("numpy", "MindSporeStyleAdamWeightDecay")).decay
    'update'
    """
    if name not in MAPPING.numerics:
        raise ValueError(f"numerics must be one of {', '.join(MAPPING.numerics)}; got {name!r}")
    dialect = MAPPING.dialects[adapter.dialect]
    own = MAPPING.numerics[dialect.numerics]
    found = own if own.extends == name else MAPPING.numerics[name]
    # The adapter of an original has no runtime of ours.
    runtime = RUNTIMES.get(adapter.runtime)
    base = runtime.base(dialect) if runtime is not None else None
    lacking = base.lacking(found) if base is not None and base.host is None else {}
    if lacking:
        facts = ", ".join(f"{fact}: {value}" for fact, value in lacking.items())
        raise ValueError(
            f"numerics={name!r}: {adapter.module}.{adapter.name} does not round like that ({facts}); use other "
            f"numerics, or the class of that style on NumPy"
        )
    return found


# A step asks for it, and the mapping would look at one adapter after the other.
_adapter = cache(MAPPING.adapter)


class Adapted:
    """Let the base class of some adapters know which of them it is, and which dialect's facts hold."""

    _adapter: ClassVar[str]
    _runtime: ClassVar[str]

    @classmethod
    def _own_adapter(cls) -> Adapter:
        return _adapter(cls._runtime, cls._adapter)

    @classmethod
    def _dialect(cls) -> Dialect:
        return MAPPING.dialects[cls._own_adapter().dialect]

    @classmethod
    def _error(cls, kind: str) -> type[Exception]:
        return exception(getattr(cls._dialect().errors, kind))


def neutral_values() -> dict[str, Any]:
    """Return for every hyperparameter the value at which it changes nothing."""
    return {name: entry.neutral for name, entry in MAPPING.canonical.items() if entry.scope == "hyperparameter"}


def resolve(adapter: Adapter, given: AbstractMapping[str, Any], extra: AbstractMapping[str, Any]) -> Hyperparameters:
    """Return the canonical hyperparameters of a call that uses a dialect's names.

    Args:
        adapter: the class that was called.
        given: the parameters of its signature, by name.
        extra: what came through ``**kwargs``, by name.

    Returns:
        The hyperparameters, with the dialect's defaults for what the call leaves out.

    Raises:
        The dialect's unknown_keyword: a name is unknown, or is given twice.
        The dialect's wrong_type: a value is of a wrong type.
        The dialect's out_of_range: a value is out of range.
        The dialect's conflict: two parameters are set that exclude each other.
    """
    dialect = MAPPING.dialects[adapter.dialect]
    borrowed = tuple(fact for _, fact in MAPPING.borrowed(adapter))
    known = {fact.name for fact in (*dialect.accepted, *borrowed)}
    for name in extra:
        if name not in known or (name in given):
            raise exception(dialect.errors.unknown_keyword)(unknown_keyword(name, adapter))
    native = {fact.name: fact.default for fact in dialect.accepted if not fact.required}
    native |= dict(given) | dict(extra)
    values = neutral_values()
    schedules: dict[str, Schedule] = {}
    for fact, value in lens.taken(dialect, native, borrowed):
        if MAPPING.canonical[fact.canonical].scope == "input":
            continue
        checked = check_value(fact, value, dialect)
        if checked is None:
            continue
        if isinstance(checked, Schedule):
            schedules[fact.canonical] = checked
        values[fact.canonical] = checked
    settle_decay(values, schedules)
    # An alias that was given wins over the parameter it stands for, as in the original.
    native = lens.settled(dialect, native, borrowed)
    _check_conflicts(dialect, adapter, native)
    return Hyperparameters(values, schedules, native)


def unchanging(settings: AbstractMapping[str, Any]) -> dict[str, Any]:
    """Return settings with their lists as tuples, so that a list that is changed in place differs from what was kept.

    Args:
        settings: by any names.

    >>> betas = [0.9, 0.999]
    >>> before = unchanging({"betas": betas})
    >>> betas[0] = 0.5
    >>> before == unchanging({"betas": betas})
    False
    """
    return {name: tuple(value) if type(value) is list else value for name, value in settings.items()}


def settle_decay(values: dict[str, Any], schedules: dict[str, Schedule]) -> None:
    """Read an L2 weight decay as a decoupled one where the switch for that is on; turn the switch off.

    Args:
        values: canonical names to values; changed in place.
        schedules: canonical names to schedules, for those that may change from step to step; changed in place.

    >>> values = {"decouples_decay": True, "l2_weight_decay": 0.1}
    >>> settle_decay(values, {})
    >>> values
    {'decouples_decay': False, 'l2_weight_decay': 0.0, 'decoupled_weight_decay': 0.1}
    """
    if values.get("decouples_decay"):
        values["decouples_decay"] = False
        for holder in (values, schedules):
            if "l2_weight_decay" in holder:
                holder["decoupled_weight_decay"] = holder["l2_weight_decay"]
        values["l2_weight_decay"] = MAPPING.canonical["l2_weight_decay"].neutral
        schedules.pop("l2_weight_decay", None)


def say_borrowed(adapter: Adapter, given: Collection[str], depth: int) -> None:
    """Warn of keywords of another dialect, which are honoured.

    Args:
        adapter: the class that was called.
        given: the names of its arguments.
        depth: the stack level of the user's call, as `warnings.warn` counts it from here.
    """
    for dialect, fact in MAPPING.borrowed(adapter):
        if fact.name in given:
            about = " ".join(MAPPING.canonical[part.canonical].about for part in fact.parts)
            warnings.warn(
                f"{fact.name!r} is a keyword of {dialect.title}, honoured here: {about} {fact.note}",
                UserWarning,
                stacklevel=depth,
            )


def _check_conflicts(dialect: Dialect, adapter: Adapter, native: AbstractMapping[str, Any]) -> None:
    for conflict in dialect.conflicts:
        text = conflict_text(conflict, adapter, native)
        if text is not None:
            raise exception(dialect.errors.conflict)(text)


def conflict_text(conflict: Conflict, adapter: Adapter, native: AbstractMapping[str, Any]) -> str | None:
    """Return text that says that two parameters exclude each other, or None where they do not.

    Args:
        conflict: the two parameters.
        adapter: the class that was called.
        native: its arguments, by their own names.

    Returns:
        The text; None where at most one of the two is set, that is, neither None nor False.
    """
    one, other = conflict.pair
    if any(native.get(name) is None or native.get(name) is False for name in conflict.pair):
        return None
    target = MAPPING.dialects[adapter.dialect].target
    why = "" if conflict.original == "raises" else f" ({target} would ignore one of them without a word)"
    return (
        f"{adapter.name}: {one!r} and {other!r} exclude each other{why}; set only one, "
        f"got {one}={native[one]!r} and {other}={native[other]!r}"
    )


def with_original(text: str, error: Exception) -> str:
    """Return a text with that of the original's exception after it: programs may look for its words.

    Args:
        text: says what was wrong.
        error: the original's exception.

    >>> with_original("beta_1 must be a number", ValueError("bad beta"))
    'beta_1 must be a number (the original: bad beta)'
    """
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return f"{text} (the original: {said})" if said else text
