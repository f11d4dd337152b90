"""Compare two dialects parameter by parameter; every category is computed from the facts."""

from __future__ import annotations

from dataclasses import dataclass

from adamcompat.mapping.facts import Default, ParameterFact
from adamcompat.mapping.model import Dialect, Mapping

SAME = "same"
RENAMED = "renamed"
OTHER_DEFAULT = "other default"
RENAMED_OTHER_DEFAULT = "renamed, other default"
OTHER_MEANING = "same name, other meaning"
ONLY = "only in {title}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a mapping table.

    Attributes:
        kind: parameter | keyword | group | call.
        source, target: the names, or None where a dialect has no counterpart.
        source_default, target_default: the defaults as Python source, or "" where there is none.
        category: how the two relate.
        note: what a reader must know.
    """

    kind: str
    source: str | None
    source_default: str
    target: str | None
    target_default: str
    category: str
    note: str


def rows(mapping: Mapping, source: str, target: str) -> list[Row]:
    """The mapping table between two dialects, in the order of the source's signature.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> by_name = {row.source: row for row in rows(MAPPING, "keras3", "mindspore")}
    >>> by_name["epsilon"].target, by_name["epsilon"].category
    ('eps', 'renamed, other default')
    >>> by_name["weight_decay"].category
    'same name, other meaning'
    """
    a, b = mapping.dialects[source], mapping.dialects[target]
    table = _section(mapping, a, b, a.facts, b.facts)
    if a.kwargs or b.kwargs:
        table.append(_kwargs(a, b))
    return table + _section(mapping, a, b, a.groups, b.groups) + _calls(a, b)


def _section(
    mapping: Mapping, a: Dialect, b: Dialect, ours: tuple[ParameterFact, ...], theirs: tuple[ParameterFact, ...]
) -> list[Row]:
    """Our parameters with their counterparts, then what only the other side has."""
    pairs: list[tuple[ParameterFact | None, ParameterFact | None]] = []
    pairs += [(fact, _counterpart(fact, theirs)) for fact in ours]
    pairs += [(None, fact) for fact in theirs if _counterpart(fact, ours) is None]
    return [_row(mapping, a, b, fact, other) for fact, other in pairs]


def _kind(a: Dialect, b: Dialect, fact: ParameterFact | None, other: ParameterFact | None) -> str:
    if fact in a.groups or other in b.groups:
        return "group"
    sides = ((a, fact), (b, other))
    beside = any(part is one for side, one in sides for entry in side.keywords for part in entry.parts)
    return "keyword" if beside else "parameter"


def _counterpart(fact: ParameterFact, others: tuple[ParameterFact, ...]) -> ParameterFact | None:
    """The parameter that means the same; failing that, the one of the same name."""
    same_meaning = [
        o for o in others if o.canonical == fact.canonical and (o.alias_of is None) == (fact.alias_of is None)
    ]
    # The old name of a parameter may be the other's own name for it, which has a counterpart already.
    same_name = [o for o in others if o.name == fact.name and o.canonical != fact.canonical]
    return next(iter(same_meaning + same_name), None)


def _row(mapping: Mapping, a: Dialect, b: Dialect, fact: ParameterFact | None, other: ParameterFact | None) -> Row:
    return Row(
        kind=_kind(a, b, fact, other),
        source=fact.name if fact else None,
        source_default=default_text(fact),
        target=other.name if other else None,
        target_default=default_text(other),
        category=_category(mapping, a, b, fact, other),
        note=_note(mapping, a, b, fact, other),
    )


def default_text(fact: ParameterFact | None) -> str:
    """A default as it stands in a signature; "" where there is none."""
    if fact is None:
        return ""
    return "required" if fact.required else repr(fact.default)


def _category(mapping: Mapping, a: Dialect, b: Dialect, fact: ParameterFact | None, other: ParameterFact | None) -> str:
    if fact is None or other is None:
        return ONLY.format(title=(a if other is None else b).title)
    if fact.canonical != other.canonical:
        return OTHER_MEANING
    renamed = fact.name != other.name
    if _effective(mapping, fact) != _effective(mapping, other):
        return RENAMED_OTHER_DEFAULT if renamed else OTHER_DEFAULT
    return RENAMED if renamed else SAME


def _effective(mapping: Mapping, fact: ParameterFact) -> Default:
    return mapping.canonical[fact.canonical].neutral if fact.default is None else fact.default


def _note(mapping: Mapping, a: Dialect, b: Dialect, fact: ParameterFact | None, other: ParameterFact | None) -> str:
    if fact is not None and other is not None and fact.canonical != other.canonical:
        return " ".join(
            f"{dialect.title}: {mapping.canonical[item.canonical].about} {item.note}".strip()
            for dialect, item in ((a, fact), (b, other))
        )
    notes: list[str] = []
    if fact is None or other is None:
        only = fact or other
        assert only is not None
        notes.append(mapping.canonical[only.canonical].about)
    notes += [item.note for item in (fact, other) if item is not None and item.note]
    return " ".join(dict.fromkeys(notes))


def _kwargs(a: Dialect, b: Dialect) -> Row:
    takes = [
        f"{dialect.title} takes {', '.join(fact.name for fact in dialect.keywords) or 'nothing'} there."
        for dialect in (a, b)
        if dialect.kwargs
    ]
    category = SAME if a.kwargs and b.kwargs else ONLY.format(title=(a if a.kwargs else b).title)
    return Row(
        "keyword", "**kwargs" if a.kwargs else None, "", "**kwargs" if b.kwargs else None, "", category, " ".join(takes)
    )


def _calls(a: Dialect, b: Dialect) -> list[Row]:
    ours, theirs = a.method("step"), b.method("step")
    if ours is None or theirs is None:
        return []
    names = []
    for method in (ours, theirs):
        arguments = ", ".join(argument.name for argument in method.arguments if argument.canonical is not None)
        names.append(f"{method.name}({arguments})")
    how = {
        "apply_gradients": "pairs of gradient and parameter at each step",
        "call": "the gradients alone, in the order of the parameters",
        "step": "nothing at each step: each parameter holds its gradient",
    }
    note = " ".join(f"{dialect.title} takes {how[dialect.protocol]}." for dialect in (a, b))
    category = SAME if names[0] == names[1] else RENAMED
    return [Row("call", names[0], "", names[1], "", category, note if a.protocol != b.protocol else "")]
