"""The parameters of one optimizer, their state, and what its next step takes from the hyperparameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import adamcompat.executors as executors
import adamcompat.kernel as kernel
from adamcompat.executors.headers import Headers
from adamcompat.executors.launch import Team, threads_asked
from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters, exception
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.arrays import (
    Array,
    Parameter,
    Variable,
    check_apart,
    check_parameter,
    identity,
)
from adamcompat.numpy.batch import Memory
from adamcompat.numpy.ending import Ending
from adamcompat.numpy.layout import Layout
from adamcompat.numpy.slots import Slot
from adamcompat.program import Program, compile_step
from adamcompat.schedules import Schedule
from adamcompat.stages import time_decayed
from adamcompat.whole import Operation

if TYPE_CHECKING:
    from typing_extensions import Self


def _nothing() -> None:
    """Write nothing back: the arrays themselves are trained."""


class Kept:
    """Keep the state of one optimizer.

    Args:
        dialect: the API whose order of stages and semantics to follow.
        numerics: how to round.
        hyper: the hyperparameters; others can be assigned later.
        iterations: an integer array of one element that counts the calls.
        wrong_gradients: the exception for gradients that do not fit.
    """

    _ending: Ending | None = None

    def __init__(
        self,
        dialect: Dialect,
        numerics: Numerics,
        hyper: Hyperparameters,
        iterations: NDArray[Any],
        wrong_gradients: type[Exception],
    ) -> None:
        self.dialect = dialect
        self.numerics = numerics
        self.hyper = hyper
        self.slots: list[Slot] = []
        self.iterations = iterations
        self.rate = np.zeros((), np.float64)
        self._keep_rate()
        self.powers = np.ones(2, kernel.POWER_DTYPE) if numerics.beta_power == "product" else None
        # An array that has the number of steps too, in each of its elements.
        self.counts: NDArray[Any] | None = None
        # How the original shares a tensor among threads, where that shows in its bits.
        self.shares: Callable[[int], list[int]] | None = None
        # The threads of a step; None stands for threads of our own.
        self.team: Team | None = None
        # What else belongs to a step, where the arrays are copies of what is trained; called again, it changes nothing.
        self.write_back: Operation = _nothing
        # The learning rate of the next step, where something else than the hyperparameters has computed it.
        self.given_rate: float | None = None
        self._wrong_gradients = wrong_gradients
        self._memory: Memory | None = None
        self._layout: Layout | None = None
        self._headers: Headers | None = None
        self._assignments = -1
        self._executor: ModuleType | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tables of addresses mean nothing in a copy.
        nothing = {"_memory": None, "_layout": None, "_headers": None, "_executor": None, "_ending": None}
        return self.__dict__ | nothing | {"_assignments": -1}

    @property
    def wrong_gradients(self) -> type[Exception]:
        """The exception for gradients that do not fit."""
        return self._wrong_gradients

    @property
    def ending(self) -> Ending:
        """Return what a step writes last."""
        if self._ending is None or not self._ending.of(self.iterations, self.powers, self.counts):
            self._ending = Ending(self.iterations, self.powers, self.counts)
        return self._ending

    @property
    def trains_copies(self) -> bool:
        """Return whether a step has to write back what it did, for the arrays are copies of what is trained."""
        return self.write_back is not _nothing

    def forget_memory(self) -> None:
        """Take note that arrays of the slots were exchanged for others of the same shape."""
        self._memory = self._layout = self._headers = None

    @property
    def hyper(self) -> Hyperparameters:
        """The hyperparameters that the program is compiled from."""
        return self._hyper

    @hyper.setter
    def hyper(self, hyper: Hyperparameters) -> None:
        self.program: Program = compile_step(self.dialect, self.numerics, hyper)
        self._hyper = hyper

    def assign(self, hyper: Hyperparameters) -> None:
        """Take other hyperparameters from the next step on, the learning rate too."""
        self.hyper = hyper
        self._keep_rate()
        self._layout = None

    def count(self, step: int) -> None:
        """Set the number of steps, and with it the running products of the betas where they are kept."""
        self.iterations[...] = step
        if self.powers is not None:
            betas = self.program.update.beta1, self.program.update.beta2
            beta1, beta2 = (beta.at(0) if isinstance(beta, Schedule) else beta for beta in betas)
            self.powers[:] = [kernel.running_product(beta, step, kernel.POWER_DTYPE) for beta in (beta1, beta2)]

    def split(self, indices: Collection[int]) -> Self:
        """Let some parameters go, with their state and their number of steps, to another engine, which is returned.

        Args:
            indices: the places of these parameters among the slots.
        """
        other = copy.copy(self)
        other.iterations, other.rate = self.iterations.copy(), self.rate.copy()
        other.powers = None if self.powers is None else self.powers.copy()
        other.slots = [slot for i, slot in enumerate(self.slots) if i in indices]
        self.slots = [slot for i, slot in enumerate(self.slots) if i not in indices]
        for engine in (self, other):
            engine.forget_memory()
        return other

    def _keep_rate(self) -> None:
        schedule = self.hyper.schedules["learning_rate"]
        if schedule.constant:
            self.rate[...] = schedule.at(0)

    def set_learning_rate(self, value: Any) -> str:
        """Replace the learning rate from the next step on, and return its name in the dialect.

        Args:
            value: a number, a list with one value a step, or a callable of the step or of nothing.

        Raises:
            The dialect's exceptions for a wrong type or a value out of range.
        """
        fact, errors = self.dialect.named("learning_rate"), self.dialect.errors
        assert fact is not None
        schedule = Schedule(value, fact.name, fact.range, exception(errors.wrong_type), exception(errors.out_of_range))
        self.hyper.schedules["learning_rate"] = self.hyper.values["learning_rate"] = schedule
        self._keep_rate()
        return fact.name

    def add(self, array: Array, name: str, group: Group, *, decays: bool, owner: Parameter | None = None) -> None:
        """Create the state of one more parameter.

        Args:
            array: the parameter, a checked array that steps update in place.
            name: what the parameter is called in the state and in errors.
            group: the settings that it shares with others.
            decays: whether weight decay reaches it.
            owner: the Parameter that holds the array, and may hold another one later; None where there is none.
        """
        program = self.program

        def zeros(wanted: bool) -> Array | None:
            return np.zeros(array.shape, array.dtype) if wanted else None

        m, v = np.zeros(array.shape, array.dtype), np.zeros(array.shape, array.dtype)
        slot = Slot(
            array,
            name,
            group,
            decays,
            m,
            v,
            zeros(program.update.amsgrad),
            zeros(program.average is not None),
            zeros(program.every is not None),
            owner,
        )
        if slot.average is not None and program.average is not None and not program.average.starts_with_first_update:
            slot.average[...] = array
        self.slots.append(slot)
        self.forget_memory()

    def add_all(
        self, variables: Sequence[Variable], groups: Sequence[Group], decays: Callable[[int, str], bool]
    ) -> None:
        """Create state for parameters, or for none if one is refused.

        Args:
            variables: the parameters, arrays or `Parameter`.
            groups: the group of each, in the same order.
            decays: takes a parameter's position and name, and returns whether weight decay reaches it.

        Raises:
            TypeError, ValueError (or what the dialect raises for repetition): one cannot be updated in place, or two
                share memory.
        """
        start, repeated = len(self.slots), exception(self.dialect.errors.repeated_parameter)
        names: list[str] = []
        arrays: list[Array] = []
        for position, variable in enumerate(variables):
            name = variable.name if isinstance(variable, Parameter) else None
            names.append(name if name is not None else f"parameter_{start + position}")
            array = variable.data if isinstance(variable, Parameter) else variable
            check_parameter(array, f"parameter {names[-1]!r}" if name else f"parameter {position}")
            arrays.append(array)
        seen: dict[Any, str] = {}
        for array, name in zip(arrays, names, strict=True):
            key = identity(array)
            if key in seen and array.size:
                raise repeated(f"{seen[key]} and {name} are the same array; pass each parameter once")
            seen[key] = name
        check_apart(arrays, names, repeated)
        for position, (array, name) in enumerate(zip(arrays, names, strict=True)):
            owner = variables[position]
            self.add(
                array,
                name,
                groups[position],
                decays=decays(position, name),
                owner=owner if isinstance(owner, Parameter) else None,
            )

    def follow(self) -> bool:
        """Follow parameters that lie elsewhere since the last step; return whether there are any.

        Raises:
            TypeError, ValueError: a parameter became one that cannot be updated, or not with the state that is kept;
                nothing has changed.
        """
        assignments, known = Parameter.assignments, self._headers
        if known is not None and self._assignments == assignments and known.unchanged(self._executor):
            return False
        # An executor that is not there, or a number of threads that makes no sense, is an error at once.
        self._executor = executors.compiled()
        threads_asked()
        arrays = [slot.array if slot.owner is None else slot.owner.data for slot in self.slots]
        for slot, array in zip(self.slots, arrays, strict=True):
            check_parameter(array, slot.name)
            if array.shape != slot.m.shape or array.dtype != slot.m.dtype:
                raise ValueError(
                    f"{slot.name} now has shape {array.shape} and dtype {array.dtype}, but the optimizer keeps moments "
                    f"of shape {slot.m.shape} and dtype {slot.m.dtype}; make a new optimizer for it"
                )
        check_apart(arrays, [slot.name for slot in self.slots], ValueError)
        for slot, array in zip(self.slots, arrays, strict=True):
            slot.array = array
        self.forget_memory()
        self._headers = Headers(arrays)
        self._assignments = assignments
        return True

    def learning_rate(self, group: Group | None = None) -> float:
        """Return the learning rate of the next step.

        Args:
            group: the group whose learning rate is asked for; None, and a group without one, stand for the optimizer's
                own.

        Raises:
            ValueError, TypeError, RuntimeError: a schedule has no valid value for it.
        """
        step = self.iterations.item() + self.program.rate.start
        own = group.learning_rate if group is not None else None
        if own is not None:
            rate = own.at(step)
        elif self.given_rate is not None:
            return self.given_rate
        else:
            schedule = self.hyper.schedules["learning_rate"]
            rate = float(self.rate) if schedule.constant else schedule.at(step)
            if not math.isfinite(rate):
                raise ValueError(f"the learning rate is {rate!r}; assign a finite number")
        decay = self.program.rate.time_decay
        if not decay:
            return rate
        real = np.float32 if self.program.stepwise else np.float64
        return float(time_decayed(real(rate), real(step), real(decay), real(1)))

    def decay(self, group: Group) -> float:
        """Return the weight decay of the next step: the group's, else the optimizer's own; 0 where neither has one.

        Raises:
            ValueError, TypeError, RuntimeError: a schedule has no valid value for it.
        """
        schedules = self.hyper.schedules
        schedule = group.weight_decay or schedules.get("l2_weight_decay") or schedules.get("decoupled_weight_decay")
        if schedule is None:
            return 0.0
        return schedule.at(self.iterations.item() + self.program.rate.start)

    @property
    def memory(self) -> Memory:
        """Return where parameters and state lie."""
        if self._memory is None:
            self._memory = Memory([array for slot in self.slots for array in slot.kept.values()])
        return self._memory
