"""The numbers of one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import adamcompat.kernel as kernel
from adamcompat.groups import Group
from adamcompat.kernel import Coefficients, Scalars
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.slots import Kind
from adamcompat.program import Program
from adamcompat.schedules import Schedule


class StepSource(Protocol):
    """Declare what a step needs to know of its optimizer."""

    numerics: Numerics
    program: Program
    iterations: NDArray[Any]
    powers: NDArray[Any] | None

    def learning_rate(self, group: Group | None = None) -> float:
        """Return the learning rate of the next step, of a group where one is given."""

    def decay(self, group: Group) -> float:
        """Return the weight decay of the next step for a group."""


class Step:
    """Hold the numbers of one step, all computed before anything is written.

    Args:
        engine: the optimizer's state, settings and program.
        kinds: the kinds of the parameters that have a gradient.

    Attributes:
        program: the compiled step.
        number: the number of this update, 1 at the first; with accumulation, of the update that this call belongs to.
        completes: whether this call makes an update.
        rates: the learning rate of each group, by its id; 0 where this call makes no update.
        decays: the weight decay of each group, by its id.
        powers: the running products of the betas after this step, where the numerics keep them and this call makes an
            update; else None.
    """

    def __init__(self, engine: StepSource, kinds: Sequence[Kind]) -> None:
        self.program = program = engine.program
        every, calls = program.every, engine.iterations.item()
        self.completes = every is None or (calls + 1) % every == 0
        self.number = calls // (every or 1) + 1
        # Loops, for calls of comprehensions show in the step of a small network.
        groups: dict[int, Group] = {}
        for kind in kinds:
            groups[id(kind.group)] = kind.group
        self.decays: dict[int, float] = {}
        for key, group in groups.items():
            self.decays[key] = engine.decay(group)
        self.rates: dict[int, float] = {}
        if self.completes:
            for key, group in groups.items():
                if group.learning_rate is not None:
                    self.rates[key] = engine.learning_rate(group)
        if len(self.rates) < len(groups):
            # The optimizer's own schedule is asked once, however many groups share it.
            shared = engine.learning_rate() if self.completes else 0.0
            for key in groups:
                self.rates.setdefault(key, shared)
        beta1, beta2 = program.update.beta1, program.update.beta2
        beta1 = beta1.at(0) if isinstance(beta1, Schedule) else beta1
        beta2 = beta2.at(0) if isinstance(beta2, Schedule) else beta2
        self._betas = (beta1, beta2)
        self.powers: tuple[Any, Any] | None = None
        if engine.powers is not None and self.completes:
            self.powers = kernel.advance_powers(beta1, beta2, (engine.powers[0], engine.powers[1]))
        self._numerics = engine.numerics
        self._known: dict[tuple[float, float | None, np.dtype[Any]], Coefficients] = {}

    def coefficients(self, kind: Kind) -> Coefficients:
        """Return the scalars of the update for parameters of one kind; they are computed once."""
        rate, update = self.rates[id(kind.group)], self.program.update
        decay = None
        if update.decays:
            own = self.decays[id(kind.group)] if update.decay is None else update.decay
            decay = own if kind.decays else 0.0
        key = (rate, decay, kind.dtype)
        if key not in self._known:
            made = kind.scalars
            if made is None or made[0] is not update or made[1] != self._betas:
                made = kind.scalars = (update, self._betas, self._scalars(kind.dtype))
            self._known[key] = made[2].at(rate, step=self.number, powers=self.powers, decay=decay)
        return self._known[key]

    def _scalars(self, dtype: np.dtype[Any]) -> Scalars:
        update, (beta1, beta2) = self.program.update, self._betas
        return kernel.scalars(
            *(self._numerics, dtype),
            beta1=beta1,
            beta2=beta2,
            epsilon=update.epsilon,
            nesterov=update.nesterov,
            form=update.form,
        )
