"""Construct optimizers as the original does, and refuse what it refuses in better words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from adamcompat.hyperparameters import check_value, conflict_text, unknown_keyword, with_original
from adamcompat.mapping import lens
from adamcompat.mapping.model import Adapter
from adamcompat.mapping.tables import MAPPING
from adamcompat.once import warn_once
from adamcompat.tensorflow.arguments import dialect_of, is_number, is_tensor


def construct(
    adapter: Adapter,
    init: Callable[..., None],
    arguments: Mapping[str, Any],
    explained: Mapping[str, str] | None = None,
) -> None:
    """Call the original's constructor with the values as they are given.

    Args:
        adapter: which class of ours was called.
        init: the constructor, bound to the new optimizer.
        arguments: the keywords of the call.
        explained: texts for keywords that the mapping knows, and this original does not.

    Raises:
        The original's exceptions, with a text that says what was expected where the mapping knows it.
    """
    try:
        init(**arguments)
    except Exception as error:
        text = _explanation(adapter, arguments, explained or {}, str(error))
        better = None if text is None else _reworded(error, with_original(text, error))
        if better is None:
            raise
        raise better from error


def without_time_decay(adapter: Adapter, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords without the decay of TensorFlow 2.6, which Keras 3 takes for compatibility and ignores.

    A warning, once a process, names the schedule that does what it asks for.

    Args:
        adapter: which class of ours was called.
        extra: keywords beside its parameters.
    """
    canonical, older = "inverse_time_decay", "tf26"
    fact = MAPPING.dialects[older].named(canonical)
    assert fact is not None
    value = extra.get(fact.name)
    if value is not None and not (is_number(value) and value == 0):
        schedule = next(one for one in MAPPING.schedules.values() if one.canonical == canonical).classes["keras3"]
        names = {argument.role: argument.name for argument in schedule.arguments}
        same = next((one for one in MAPPING.adapters if (one.dialect, one.name) == (older, adapter.name)), None)
        other = f", or use {same.module}.{same.name}" if same is not None else ""
        warn_once(
            f"{fact.name}={value!r}: Keras 3 ignores it, and so does this drop-in. Pass learning_rate="
            f"{schedule.target}(learning_rate, {names['steps']}=1, {names['rate']}={value!r}) instead{other}",
            adapter.dialect,
            fact.name,
            stacklevel=4,
        )
    return {name: given for name, given in extra.items() if name != fact.name}


def _explanation(
    adapter: Adapter, arguments: Mapping[str, Any], explained: Mapping[str, str], original: str
) -> str | None:
    """Return the first complaint about an argument that the original names; any complaint where it names none."""
    named = {name for name in arguments if re.search(rf"\b{re.escape(name)}\b", original)}
    own = [({name}, text) for name, text in explained.items() if name in arguments]
    complaints = itertools.chain(own, _complaints(adapter, arguments))
    return next((text for names, text in complaints if not named or names & named), None)


def _complaints(adapter: Adapter, arguments: Mapping[str, Any]) -> Iterator[tuple[set[str], str]]:
    """Yield the complaints of the mapping, each with the arguments that it is about."""
    dialect = dialect_of(adapter)
    for name in arguments:
        if dialect.find(name) is None:
            yield {name}, unknown_keyword(name, adapter)
    for conflict in dialect.conflicts:
        if (text := conflict_text(conflict, adapter, arguments)) is not None:
            yield set(conflict.pair), text
    for name, value in arguments.items():
        fact = dialect.find(name)
        if fact is not None and not is_tensor(value) and not fact.reads_as_default(value):
            try:
                for part, item in lens.parts(fact, value, dialect):
                    check_value(part, item, dialect)
            except (TypeError, ValueError) as error:
                yield {name}, str(error)
    # Only Keras 3 minds: anywhere else, something else is wrong.
    for name, value in arguments.items():
        fact = dialect.find(name)
        if fact is not None and fact.type == "learning_rate" and type(value) is int:
            yield {name}, f"{name} must be a float, got {value!r}; write {value!r}.0"


def _reworded(error: Exception, text: str) -> Exception | None:
    """Return an exception of the same type with another text; None where its type takes no text alone."""
    kind = type(error)
    try:
        return kind(None, None, text) if isinstance(error, tf.errors.OpError) else kind(text)
    except Exception:
        return None
