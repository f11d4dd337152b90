"""One parameter group of PyTorch's calling convention, and its parameters by how often they were updated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.hyperparameters import FIXED_BY_STATE, Hyperparameters, exception
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.arrays import Array, Parameter
from adamcompat.numpy.engine import Engine, Pending


def _is_single(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0


@dataclass(slots=True)
class Cohort:
    """Hold parameters that have been updated in the same steps, in the order of the engine's slots."""

    engine: Engine
    parameters: list[Parameter]


class Cohorts:
    """Keep the parameters of one group and their state, which each gets with its first gradient.

    A parameter without a gradient is left out of a step, and does not count it. So parameters of one group differ in
    their number of steps, and with it in their bias correction: those that have the same number share an engine.

    Args:
        dialect: the API whose step is made.
        numerics: how to round.
        resolve: takes a group's settings, and returns its hyperparameters.
        names: takes a parameter, and returns its name.
    """

    def __init__(
        self,
        dialect: Dialect,
        numerics: Numerics,
        resolve: Callable[[dict[str, Any]], Hyperparameters],
        names: Callable[[Parameter], str],
    ) -> None:
        self._dialect = dialect
        self._numerics = numerics
        self._resolve = resolve
        self._names = names
        self._settings: dict[str, Any] | None = None
        self.hyper: Hyperparameters
        self.cohorts: list[Cohort] = []

    def load(self, settings: dict[str, Any], states: Sequence[tuple[Parameter, int, Mapping[str, Array]]]) -> None:
        """Take settings and state; nothing was updated here before.

        Args:
            settings: of the group, by the dialect's names.
            states: for each parameter that was updated: the parameter, how often, and its state by role.

        Raises:
            The dialect's exceptions for wrong settings; ValueError for state that does not fit.
        """
        self.follow(settings)
        for step in sorted({step for _, step, _ in states}):
            chosen = [(parameter, arrays) for parameter, own, arrays in states if own == step]
            cohort = self.add([parameter for parameter, _ in chosen], step)
            for slot, (_, arrays) in zip(cohort.engine.slots, chosen, strict=True):
                for role, place in slot.kept.items():
                    if role == "parameter":
                        continue
                    if role not in arrays or arrays[role].shape != place.shape:
                        has = f"has shape {arrays[role].shape}" if role in arrays else "is missing"
                        raise ValueError(
                            f"the state of {slot.name}: {self._dialect.slot_names[role]!r} {has}, but shape "
                            f"{place.shape} is needed"
                        )
                    place[...] = arrays[role]

    def follow(self, settings: dict[str, Any]) -> None:
        """Take the group's settings as they are now.

        Args:
            settings: by the dialect's names.

        Raises:
            ValueError: a setting that decides which state is kept has changed, and there is state.
            The dialect's exceptions for wrong values.
        """
        # A number in an array may be changed in place.
        settings = {name: value.item() if _is_single(value) else value for name, value in settings.items()}
        if settings == self._settings:
            return
        hyper = self._resolve(settings)
        if self.cohorts and self._settings is not None:
            for fact in self._dialect.facts:
                name = fact.canonical
                if name in FIXED_BY_STATE and hyper.values[name] != self.hyper.values[name]:
                    raise ValueError(
                        f"{fact.name!r} decides which state is kept and cannot change after the first step"
                    )
        for cohort in self.cohorts:
            cohort.engine.assign(hyper)
        self._settings, self.hyper = settings, hyper

    def prepared(self, parameters: Sequence[Parameter]) -> list[Pending]:
        """Do all of a step that can fail.

        Args:
            parameters: those that have a gradient.

        Returns:
            The operations that are left, which write: one `Pending` for each number of steps that parameters have had.

        Raises:
            The dialect's exceptions for a wrong parameter or gradient. Nothing has changed then but the state of new
            parameters, which starts at zero.
        """
        wanted = {id(parameter): parameter for parameter in parameters}
        chosen = []
        for cohort in list(self.cohorts):
            own = [i for i, parameter in enumerate(cohort.parameters) if wanted.pop(id(parameter), None) is not None]
            if own:
                chosen.append(cohort if len(own) == len(cohort.parameters) else self._split(cohort, own))
        if wanted:
            chosen.append(self.add(list(wanted.values())))
        return [self._pending(cohort) for cohort in chosen]

    def _pending(self, cohort: Cohort) -> Pending:
        engine = cohort.engine
        engine.follow()
        return engine.prepared(range(len(engine.slots)), [parameter.grad for parameter in cohort.parameters])

    def _split(self, cohort: Cohort, indices: Sequence[int]) -> Cohort:
        """Return the cohort of some parameters, which leave theirs."""
        parameters, chosen = cohort.parameters, set(indices)
        part = Cohort(cohort.engine.split(chosen), [p for i, p in enumerate(parameters) if i in chosen])
        cohort.parameters = [p for i, p in enumerate(parameters) if i not in chosen]
        self.cohorts.append(part)
        return part

    def add(self, parameters: Sequence[Parameter], step: int = 0) -> Cohort:
        """Give parameters state of zeros, and return their cohort.

        Args:
            parameters: without state.
            step: how often they were updated.

        Raises:
            TypeError, ValueError: one cannot be updated in place, or two share memory.
        """
        wrong = exception(self._dialect.errors.wrong_gradients)
        engine = Engine(self._dialect, self._numerics, self.hyper, np.zeros((), np.int64), wrong)
        engine.count(step)
        skips = self._dialect.semantics.decay_skips
        named = [Parameter(parameter.data, self._names(parameter)) for parameter in parameters]
        engine.add_all(named, [Group()] * len(named), lambda _, name: not any(part in name for part in skips))
        for slot, parameter in zip(engine.slots, parameters, strict=True):
            slot.owner = parameter
        cohort = Cohort(engine, list(parameters))
        self.cohorts.append(cohort)
        return cohort

    def forget_unused(self) -> None:
        """Drop state that no step has used: it is zero, and comes again with the next gradient."""
        self.cohorts = [cohort for cohort in self.cohorts if int(cohort.engine.iterations)]
