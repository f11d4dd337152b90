"""Show a comparison as rows of text, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison, Pair

FIRST_STEP, AGREE = "first differ at step", "agree"
PAIRS = ("pair", "largest difference", "absolute", "at the end", FIRST_STEP, "nearer to float64", AGREE)
OPTIMIZERS = ("optimizer", "distance to its float64 self", "hyperparameters")
SPACING = "A spacing is the unit in the last place of a tensor's largest value so far."
# The columns that hold numbers.
NUMBERS = (*PAIRS[1:5], OPTIMIZERS[1])


def pairs(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield one row a pair, under the titles `PAIRS`; distances are in spacings."""
    for pair in comparison.pairs:
        yield (
            f"{pair.first} | {pair.second}",
            spacings(pair.spacings),
            f"{pair.absolute:.3g}",
            spacings(pair.at_the_end),
            "never" if pair.first_step is None else f"{pair.first_step:,}",
            pair.nearer or "neither",
            "yes" if pair.agree else "no",
        )


def optimizers(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield one row an optimizer, under the titles `OPTIMIZERS`."""
    for run in comparison.runs:
        known = ", ".join(f"{name}={value}" for name, value in run.hyperparameters.items())
        yield run.label, spacings(run.to_float64) if known else "unknown", known or "unknown"


def spacings(distance: float) -> str:
    """Return a distance as text for people.

    >>> spacings(0.0), spacings(1.5), spacings(2095896.0)
    ('0', '1.5', '2.1e+06')
    """
    return f"{distance:.2g}" if distance < 100 or distance >= 1e5 else f"{distance:,.0f}"


def of_pair(pair: Pair) -> str:
    """Return one sentence that says whether two differ, from which step on, and how far."""
    who = f"{pair.first} | {pair.second}"
    if pair.first_step is None:
        return f"{who}: equal bits in every step"
    how = "agree: apart" if pair.agree else "differ"
    return f"{who}: {how} from step {pair.first_step:,} on, by up to {spacings(pair.spacings)} spacings"


def whole_sentences(pair: Pair) -> str:
    """Return whether two differ, and everything that explains it, as sentences."""
    return f"{'. '.join([of_pair(pair), *pair.sentences])}."


def verdict(comparison: Comparison) -> str:
    """Return one sentence that says whether the optimizers agree."""
    limit = f"{comparison.tolerance:g} spacings"
    if comparison.agree:
        return f"All agree within {limit}, in every step."
    differ = [pair for pair in comparison.pairs if not pair.agree]
    return f"{len(differ)} of {len(comparison.pairs)} pairs differ by more than {limit}."
