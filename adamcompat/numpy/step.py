"""The numbers of one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import adamcompat.kernel as kernel
from adamcompat.groups import Group
from adamcompat.kernel import Coefficients
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
        groups = {id(kind.group): kind.group for kind in kinds}
        self.decays = {key: engine.decay(group) for key, group in groups.items()}
        self.rates = dict.fromkeys(groups, 0.0)
        if self.completes:
            own = {key: engine.learning_rate(group) for key, group in groups.items() if group.learning_rate is not None}
            # The optimizer's own schedule is asked once, however many groups share it.
            shared = engine.learning_rate() if len(own) < len(groups) else 0.0
            self.rates = dict.fromkeys(groups, shared) | own
        values = [program.update.beta1, program.update.beta2]
        beta1, beta2 = (value.at(0) if isinstance(value, Schedule) else value for value in values)
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
            self._known[key] = kernel.coefficients(
                self._numerics,
                kind.dtype,
                learning_rate=rate,
                beta1=self._betas[0],
                beta2=self._betas[1],
                epsilon=update.epsilon,
                step=self.number,
                nesterov=update.nesterov,
                form=update.form,
                powers=self.powers,
                decay=decay,
            )
        return self._known[key]
