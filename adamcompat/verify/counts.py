"""Count the facts that agree, for sentences about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adamcompat.verify.judge import AGREES, DIFFERS, STRICTER, UNMEASURED, Verdict

_MANY = {AGREES: "agree", STRICTER: "stricter", UNMEASURED: "not measured", DIFFERS: "differ"}


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return one sentence that says how many facts were measured, and how many agree."""
    measured = [verdict for verdict in verdicts if verdict.state != UNMEASURED]
    differ = sum(verdict.state == DIFFERS for verdict in measured)
    end = "" if differ else ", none differs"
    return f"{len(measured)} of {len(verdicts)} facts measured: {_counted(measured)}{end}."


def by_framework(verdicts: Sequence[Verdict]) -> list[str]:
    """Return for each framework how many facts it has, and how many of them agree."""
    lines = []
    for source in dict.fromkeys(map(source_of, verdicts)):
        of = [verdict for verdict in verdicts if source_of(verdict) == source]
        lines.append(f"{source}: {len(of)} facts: {_counted(of)}")
    return lines


def _counted(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.state for verdict in verdicts)
    return ", ".join(
        f"{counts[state]} {state if counts[state] == 1 else many}" for state, many in _MANY.items() if counts[state]
    )


def difference(verdict: Verdict) -> str:
    """Return a sentence that says what the mapping has and what was seen instead."""
    there = f"{source_of(verdict)} has {verdict.observed}"
    return f"differs {verdict.path}: the mapping has {verdict.mapping}; {there}"


def source_of(verdict: Verdict) -> str:
    """Return the framework that a fact was measured in, with its version."""
    return f"{verdict.framework} {verdict.version}"
