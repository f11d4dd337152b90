"""Hold learning-rate schedules as frozen dataclasses: their formulas, and the classes that compute them."""

from __future__ import annotations

from dataclasses import dataclass

from adamcompat.mapping.facts import Default


@dataclass(frozen=True, slots=True)
class RateArgument:
    """Describe one argument of a learning-rate schedule.

    Attributes:
        name: as the dialect spells it.
        role: what it means: ``initial``, ``final``, ``rate``, ``steps``, ``power``, ``repeat``, ``staircase`` or
            ``step``.
        default: the default; None also where it is required.
        required: whether it has no default.
        fill: the expression to write where another dialect has nothing to say, or None.
    """

    name: str
    role: str
    default: Default
    required: bool
    fill: str | None


@dataclass(frozen=True, slots=True)
class RateClass:
    """Describe a class or function of one dialect that computes a schedule.

    Attributes:
        target: its dotted name.
        arguments: its signature, in order.
    """

    target: str
    arguments: tuple[RateArgument, ...]


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """Describe a learning rate that follows a formula, and the classes that compute it.

    Attributes:
        name: what it is called.
        about: the formula.
        canonical: the hyperparameter that stands for it, with the same rate and one step, or None.
        classes: the class or function that computes it, by the name of the dialect.
    """

    name: str
    about: str
    canonical: str | None
    classes: dict[str, RateClass]
