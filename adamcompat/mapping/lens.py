"""Turn native names and values of a dialect into canonical ones, and back.

Here, and nowhere else, tuples are taken apart and put together. Every tool goes through here, so that none of them
assumes that one parameter has one meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from adamcompat.mapping.facts import Fact, ParameterFact, TupleFact
from adamcompat.mapping.model import Dialect, exception


def parts(fact: Fact, value: Any, dialect: Dialect) -> tuple[tuple[ParameterFact, Any], ...]:
    """Take the value of a parameter apart.

    Args:
        fact: the parameter.
        value: what is given for it, unchecked.
        dialect: whose exceptions to raise.

    Returns:
        Each single meaning with its value. For a parameter that is no tuple this is the parameter itself.

    Raises:
        The dialect's wrong_type: the value of a tuple is no tuple or list.
        The dialect's out_of_range: the value of a tuple has another length.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> dialect = MAPPING.dialects["mindspore"]
    >>> [(fact.canonical, value) for fact, value in parts(dialect.find("eps"), 1e-7, dialect)]
    [('epsilon', 1e-07)]
    """
    if isinstance(fact, ParameterFact):
        return ((fact, value),)
    count = len(fact.elements)
    wanted = f"{fact.name} must be a tuple of {count} values ({', '.join(part.canonical for part in fact.elements)})"
    if not isinstance(value, (tuple, list)):
        raise exception(dialect.errors.wrong_type)(f"{wanted}, got {value!r} ({type(value).__name__})")
    if len(value) != count:
        raise exception(dialect.errors.out_of_range)(f"{wanted}, got {len(value)}: {value!r}")
    return tuple(zip(fact.elements, value, strict=True))


def each(fact: Fact | None, value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to each single value of a parameter.

    Args:
        fact: the parameter; None for one that is known to nobody.
        value: its value, unchecked.
        function: takes a single value, and returns what stands in its place.

    Returns:
        A tuple of the results where `fact` is a tuple, else the one result. A value that should be a tuple and is none
        comes back as it is, for `parts` to refuse.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> each(MAPPING.dialects["mindspore"].find("eps"), 1, float)
    1.0
    """
    if not isinstance(fact, TupleFact):
        return function(value)
    return tuple(map(function, value)) if isinstance(value, (tuple, list)) else value


def taken(
    dialect: Dialect, native: Mapping[str, Any], borrowed: Iterable[Fact] = ()
) -> Iterator[tuple[ParameterFact, Any]]:
    """Yield each single meaning that native keywords give a value, with that value; aliases are among them.

    Args:
        dialect: whose names they are.
        native: names to values, unchecked.
        borrowed: parameters of other dialects that may stand among them.

    Raises:
        The dialect's unknown_keyword: a name is unknown.
        The dialect's wrong_type: the value of a tuple is no tuple or list.
        The dialect's out_of_range: the value of a tuple has another length.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> [(fact.name, value) for fact, value in taken(MAPPING.dialects["tf26"], {"lr": 0.1, "decay": 0.0})]
    [('lr', 0.1), ('decay', 0.0)]
    """
    facts = _by_name(dialect, borrowed)
    for name, value in native.items():
        yield from parts(_known(facts, name, dialect), value, dialect)


def _by_name(dialect: Dialect, borrowed: Iterable[Fact]) -> dict[str, Fact]:
    return {fact.name: fact for fact in (*borrowed, *dialect.accepted)}


def _known(facts: Mapping[str, Fact], name: str, dialect: Dialect) -> Fact:
    if name not in facts:
        raise exception(dialect.errors.unknown_keyword)(
            f"{dialect.title} has no parameter {name!r}; known: {', '.join(facts)}"
        )
    return facts[name]


def to_canonical(dialect: Dialect, native: Mapping[str, Any], borrowed: Iterable[Fact] = ()) -> dict[str, Any]:
    """Turn native keywords into canonical ones.

    Args:
        dialect: whose names they are.
        native: names to values, unchecked. An alias that is not None wins over the parameter it stands for.
        borrowed: parameters of other dialects that may stand among them.

    Returns:
        Canonical names to values, of what was given. Defaults are not filled in.

    Raises:
        The dialect's unknown_keyword: a name is unknown.
        The dialect's wrong_type: the value of a tuple is no tuple or list.
        The dialect's out_of_range: the value of a tuple has another length.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> to_canonical(MAPPING.dialects["mindspore"], {"eps": 1e-7, "weight_decay": 0.1})
    {'epsilon': 1e-07, 'l2_weight_decay': 0.1}
    """
    found: dict[str, Any] = {}
    aliases: dict[str, Any] = {}
    for fact, value in taken(dialect, native, borrowed):
        if fact.alias_of is None:
            found[fact.canonical] = value
        elif value is not None:
            aliases[fact.canonical] = value
    return found | aliases


def to_native(dialect: Dialect, canonical: Mapping[str, Any], borrowed: Iterable[Fact] = ()) -> dict[str, Any]:
    """Turn canonical keywords into native ones.

    Args:
        dialect: whose names to use.
        canonical: canonical names to values. Where only some elements of a tuple are given, the defaults of the others
            stand beside them.
        borrowed: parameters of other dialects that may be used where the dialect has none.

    Returns:
        The dialect's own names to values, with tuples as tuples.

    Raises:
        The dialect's unknown_keyword: it has no parameter of a meaning.
        The dialect's wrong_type: an element of a tuple is not given and has no default.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> to_native(MAPPING.dialects["mindspore"], {"epsilon": 1e-7, "l2_weight_decay": 0.1})
    {'eps': 1e-07, 'weight_decay': 0.1}
    """
    accepted = [fact for fact in (*dialect.accepted, *borrowed) if fact.alias_of is None]
    owners: dict[str, Fact] = {}
    for fact in accepted:
        for part in fact.parts:
            owners.setdefault(part.canonical, fact)
    found: dict[str, Any] = {}
    for name, value in canonical.items():
        owner = owners.get(name)
        if owner is None:
            raise exception(dialect.errors.unknown_keyword)(f"{dialect.title} has no counterpart of {name!r}")
        if isinstance(owner, ParameterFact):
            found[owner.name] = value
        elif owner.name not in found:
            found[owner.name] = _put_together(owner, canonical, dialect)
    return found


def _put_together(fact: TupleFact, canonical: Mapping[str, Any], dialect: Dialect) -> tuple[Any, ...]:
    for element in fact.elements:
        if element.canonical not in canonical and element.required:
            raise exception(dialect.errors.wrong_type)(
                f"{fact.name} of {dialect.title} needs {element.canonical!r} too, which has no default"
            )
    return tuple(canonical.get(element.canonical, element.default) for element in fact.elements)


def settled(dialect: Dialect, native: Mapping[str, Any], borrowed: Iterable[Fact] = ()) -> dict[str, Any]:
    """Return native keywords under the dialect's own names, with tuples as tuples.

    Args:
        dialect: whose names they are.
        native: names to values. Where an alias or a borrowed parameter says something that the dialect has a parameter
            for, its value stands there; None says nothing.
        borrowed: parameters of other dialects that may stand among them.

    Returns:
        The dialect's own names to values. An alias or a borrowed parameter keeps its name where it is None, or where
        the dialect has no parameter for it.

    Raises:
        The dialect's unknown_keyword: a name is unknown.
        The dialect's wrong_type: the value of a tuple is no tuple or list.
        The dialect's out_of_range: the value of a tuple has another length.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> settled(MAPPING.dialects["tf26"], {"learning_rate": 0.001, "lr": 0.1})
    {'learning_rate': 0.1}
    """
    own = {fact.name: fact for fact in dialect.accepted if fact.alias_of is None}
    facts = _by_name(dialect, borrowed)
    found: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for name, value in native.items():
        fact = _known(facts, name, dialect)
        said = {part.canonical: item for part, item in parts(fact, value, dialect)}
        if name not in own and value is not None and all(map(dialect.named, said)):
            moved |= said
        else:
            found[name] = each(fact, value, lambda item: item)
    changed = {name: found[name] for name, fact in own.items() if name in found and _speaks_of(fact, moved)}
    return found | to_native(dialect, to_canonical(dialect, changed) | moved)


def _speaks_of(fact: Fact, canonical: Mapping[str, Any]) -> bool:
    return any(part.canonical in canonical for part in fact.parts)
