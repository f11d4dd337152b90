"""Hold what a comparison found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """Hold one fact that explains a difference.

    Attributes:
        name: which parameter or semantic.
        here: what it is for the first optimizer.
        there: what it is for the second one.
        explained: the share of the difference, from 0 to 1, that is gone when the first optimizer is given this
            fact, and those before it in the list, from the second.
        weights: the names of those that it concerns; empty where it concerns all of them.
    """

    name: str
    here: str
    there: str
    explained: float
    weights: list[str]


@dataclass(frozen=True, slots=True)
class Run:
    """Hold one optimizer's part in a comparison.

    Attributes:
        label: as it was asked for.
        hyperparameters: what it ran with, by canonical names, where it has an effect.
        to_float64: the largest distance to the same optimizer in float64, in spacings.
        parameters: at the end, one array a parameter.
    """

    label: str
    hyperparameters: dict[str, str]
    to_float64: float
    parameters: list[Array]


class Point(NamedTuple):
    """Hold a distance after a step.

    Attributes:
        step: counted from 1.
        spacings: the distance in spacings.
        absolute: the largest difference of an element.
    """

    step: int
    spacings: float
    absolute: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold how far two optimizers are apart.

    Attributes:
        first: the label of the one.
        second: the label of the other.
        spacings: the largest distance of all steps, in units in the last place of the tensor's largest value so far.
        absolute: the largest difference of an element in all steps.
        at_the_end: the distance after the last step, in spacings.
        first_step: the first step, counted from 1, after which they differ at all; None if never.
        nearer: the label of the one that is nearer to float64, or None.
        agree: whether `spacings` is within the tolerance.
        curve: the distance after each step at which it is known.
        causes: what explains the difference, the most important first; empty where they agree, None where
            it is not known what a recorded optimizer was asked for.
        unexplained: the share of the difference that is left when all causes are taken away; 0 where what is left
            is within the tolerance.
        doubled: the steps, counted from 1, at which the distance falls though no parameters come nearer: the largest
            value of a tensor passes a power of two, and its unit doubles.
    """

    first: str
    second: str
    spacings: float
    absolute: float
    at_the_end: float
    first_step: int | None
    nearer: str | None
    agree: bool
    curve: list[Point]
    causes: list[Cause] | None
    unexplained: float
    doubled: list[int] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """Return the causes as sentences, without a full stop; none where the two agree."""
        if self.agree:
            return []
        if self.causes is None:
            return ["the recording does not say what its optimizer was asked for, so that nothing can be tried"]
        found = []
        for number, cause in enumerate(self.causes):
            where = f" of {listed(cause.weights)}" if cause.weights else ""
            what = f"{cause.name}{where}: {cause.here} against {cause.there}"
            share = percent(cause.explained)
            found.append(f"with {what} as well, {share}" if number else f"{what} explains {share} of it")
        if self.unexplained > UNEXPLAINED:
            found.append(f"{percent(self.unexplained)} is explained by no difference that the mapping knows")
        return found


# What may be left of a difference that counts as explained.
UNEXPLAINED = 0.05


def percent(share: float) -> str:
    """Return a share as text for people; only what is whole is called 100%.

    Args:
        share: from 0 to 1.

    >>> percent(0.98), percent(0.99999), percent(1.0)
    ('98%', '99.99%', '100%')
    """
    if share == 1:
        return "100%"
    for digits in (0, 1, 2):
        text = f"{100 * share:.{digits}f}%"
        if float(text[:-1]) < 100 and (digits == 2 or share < 0.99 or digits == 1):
            return text
    return "99.99%"


# So many names are listed.
_MOST = 3


def listed(names: Sequence[str]) -> str:
    """Return names as text for people: the first three, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Hold the result of `adamcompat.compare`.

    Attributes:
        about: where weights and gradients came from.
        steps: number of steps.
        tolerance: the largest distance, in spacings, that counts as agreement.
        runs: the optimizers.
        pairs: every pair of them.
    """

    about: str
    steps: int
    tolerance: float
    runs: list[Run]
    pairs: list[Pair]

    @property
    def agree(self) -> bool:
        """Return whether every pair agrees within the tolerance."""
        return all(pair.agree for pair in self.pairs)

    def pair(self, first: str, second: str) -> Pair:
        """Return the pair of two labels, in either order.

        Args:
            first: the label of one optimizer.
            second: the label of the other.

        Raises:
            KeyError: there is no such pair.
        """
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                return pair
        raise KeyError(f"no pair of {first!r} and {second!r}; compared: {', '.join(run.label for run in self.runs)}")

    def __str__(self) -> str:
        from adamcompat.comparison.tables import SPACING, of_pair, verdict

        lines = [verdict(self)]
        for pair in self.pairs:
            lines += [of_pair(pair), *(f"  {sentence}" for sentence in pair.sentences)]
        return "\n".join([*lines, f"{self.about}. {SPACING}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from adamcompat.comparison.notebook import shown

        return shown(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the parameters, as values for JSON."""
        runs = [{key: value for key, value in asdict(run).items() if key != "parameters"} for run in self.runs]
        pairs = [{**asdict(pair), "sentences": pair.sentences} for pair in self.pairs]
        return {
            "about": self.about,
            "steps": self.steps,
            "tolerance": self.tolerance,
            "agree": self.agree,
            "optimizers": runs,
            "pairs": pairs,
        }

    def plot(self, path: str | Path) -> None:
        """Draw the distances over the steps into a file.

        Args:
            path: of the file; its ending (.png, .svg, .pdf) decides what it becomes.

        Raises:
            ValueError: matplotlib cannot draw such a file.
            ModuleNotFoundError: matplotlib is not installed.
        """
        from adamcompat.comparison.plot import save

        save(self, path)

    def html(self, path: str | Path) -> None:
        """Write tables, causes and the drawing as one page that needs nothing else.

        Args:
            path: of the file.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from adamcompat.comparison.page import save

        save(self, path)
