"""Compare two dialects parameter by parameter; every category is computed from the facts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adamcompat.correction import make_correction
from adamcompat.mapping.facts import Default, ParameterFact
from adamcompat.mapping.model import Dialect, Form, Mapping

SAME = "same"
RENAMED = "renamed"
OTHER_DEFAULT = "other default"
RENAMED_OTHER_DEFAULT = "renamed, other default"
OTHER_MEANING = "same name, other meaning"
OTHER_STEP = "other computation"
ONLY = "only in {title}"


@dataclass(frozen=True, slots=True)
class Row:
    """Describe one line of a mapping table.

    Attributes:
        kind: ``parameter``, ``keyword`` (taken through ``**kwargs``), ``group`` (a key of a parameter group), ``step``
            (a difference of what is computed) or ``call`` (the method that makes a step).
        source: the name in the source dialect, or None where it has no counterpart there.
        source_default: the default as Python source, ``"required"``, or ``""`` where there is none. In a row of the
            kind ``step`` the form that the source computes.
        target: the name in the target dialect, or None where it has no counterpart there.
        target_default: the same as `source_default`, for the target.
        category: how the two relate: one of the constants of this module, such as `RENAMED`.
        note: what a reader must know; may be empty.
    """

    kind: str
    source: str | None
    source_default: str
    target: str | None
    target_default: str
    category: str
    note: str


def rows(mapping: Mapping, source: str, target: str) -> list[Row]:
    """Return the mapping table between two dialects, in the order of the source's signature.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.

    Returns:
        One row for each parameter and keyword of either dialect, then one for each key of a parameter group, then one
        for each thing that the two compute differently, and at the end one for the call that makes a step.

    Raises:
        KeyError: the mapping has no dialect of that name.

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
    return table + _section(mapping, a, b, a.groups, b.groups) + _steps(a, b) + _calls(a, b)


def without_correction(beta1: float, beta2: float, step: int) -> float:
    r"""Return how many times as long a step is without bias correction: :math:`(1-\beta_1^t) / \sqrt{1-\beta_2^t}`.

    Args:
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).
        step: the number :math:`t` of the step, 1 at the first.

    >>> print(*(f"{without_correction(0.9, 0.999, step):.3g}" for step in (1, 10, 1000)))
    3.16 6.53 1.26
    """
    size, _ = _CORRECT(1.0, 0.0, beta1**step, beta2**step, 1.0, math.sqrt)
    return float(1 / size)


def longer_steps(beta1: float, beta2: float) -> str:
    """Return a clause that says how much longer steps are without bias correction.

    Args:
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).

    >>> longer_steps(0.9, 0.999)
    '3.16, 6.53 and 1.26 times as long at t = 1, 10 and 1,000 (with betas of 0.9 and 0.999)'
    """
    factors = [f"{without_correction(beta1, beta2, step):.3g}" for step in _TIMES]
    times = [f"{step:,}" for step in _TIMES]
    ends = (f"{', '.join(texts[:-1])} and {texts[-1]}" for texts in (factors, times))
    return f"{next(ends)} times as long at t = {next(ends)} (with betas of {beta1:g} and {beta2:g})"


_CORRECT = make_correction(Form("hat", "both"))
# Steps at which the lengths of a step with and without bias correction are compared.
_TIMES = (1, 10, 1000)


def _steps(a: Dialect, b: Dialect) -> list[Row]:
    """Return a row for each thing that two dialects compute differently from the same hyperparameters."""
    found = []
    for name, title, about in (
        ("bias_correction", "bias correction", _about_correction(b)),
        ("epsilon", "form of epsilon", "hat: epsilon is added to sqrt(v). paper: to the root of the corrected moment."),
        ("amsgrad", "maximum of amsgrad", ""),
        ("schedule_start", "first step of a schedule", ""),
    ):
        mine, theirs = getattr(a.semantics, name), getattr(b.semantics, name)
        if mine != theirs and not (name == "amsgrad" and "none" in (mine, theirs)):
            found.append(Row("step", title, str(mine), title, str(theirs), OTHER_STEP, about))
    return found


def _about_correction(dialect: Dialect) -> str:
    beta1, beta2 = (fact.default if fact is not None else None for fact in map(dialect.named, ("beta1", "beta2")))
    if isinstance(beta1, float) and isinstance(beta2, float):
        return f"Without it a step is {longer_steps(beta1, beta2)}."
    return "Without it the first thousands of steps have other lengths."


def _section(
    mapping: Mapping, a: Dialect, b: Dialect, ours: tuple[ParameterFact, ...], theirs: tuple[ParameterFact, ...]
) -> list[Row]:
    """Return the rows of our parameters with their counterparts, then of those that only the other side has."""
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
    """Return the parameter that means the same; failing that, the one of the same name; else None."""
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
    """Return a default as it stands in a signature, or "" where there is no parameter.

    Args:
        fact: the parameter, or None.

    Returns:
        The default as Python source; ``"required"`` for a parameter that has none.
    """
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
    for dialect, item in ((a, fact), (b, other)):
        if item is not None and item.name in dialect.ignored:
            notes.append(f"{dialect.target} ignores it.")
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
        "update": "gradients, state and parameters, and gives back changes and new state",
        "node": "everything as inputs, state too, and gives back what is new",
    }
    note = " ".join(f"{dialect.title} takes {how[dialect.protocol]}." for dialect in (a, b))
    category = SAME if names[0] == names[1] else RENAMED
    return [Row("call", names[0], "", names[1], "", category, note if a.protocol != b.protocol else "")]
