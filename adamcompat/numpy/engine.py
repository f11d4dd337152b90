"""One optimizer's state on NumPy arrays, and its step; knows nothing of calling conventions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import adamcompat.executors as executors
import adamcompat.kernel as kernel
from adamcompat.executors import blocked
from adamcompat.executors.headers import Headers
from adamcompat.executors.launch import threads_asked
from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters, exception
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.arrays import (
    Array,
    Parameter,
    RowSparse,
    Variable,
    check_apart,
    check_parameter,
    identity,
    real_array,
)
from adamcompat.numpy.batch import Batch, BlockedBatch, CompiledBatch, Memory, Tensors
from adamcompat.numpy.bundles import BatchBundle, Bundle, SlotBundle
from adamcompat.numpy.layout import Layout
from adamcompat.numpy.prepared import Prepared
from adamcompat.numpy.slots import Slot, kind_of
from adamcompat.numpy.step import Step
from adamcompat.program import Average, Instruction, Program, compile_step
from adamcompat.schedules import Schedule
from adamcompat.stages import average_weights, time_decayed
from adamcompat.whole import Operation, later, whole


def _nothing() -> None:
    """The arrays are what is trained."""


class Engine:
    """State and step of one optimizer.

    Args:
        dialect: whose order of stages and semantics to follow.
        numerics: how to round.
        hyper: the hyperparameters; others can be assigned later.
        iterations: an integer array of one element that counts the calls.
        wrong_gradients: the exception for gradients that do not fit.
    """

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
        # How the original shares a tensor among threads, where that shows in its bits.
        self.shares: Callable[[int], list[int]] | None = None
        # What else belongs to a step, where the arrays are copies of what is trained; called again, it changes nothing.
        self.write_back: Operation = _nothing
        self._wrong_gradients = wrong_gradients
        self._memory: Memory | None = None
        self._layout: Layout | None = None
        self._headers: Headers | None = None
        self._assignments = -1
        self._executor: ModuleType | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tables of addresses mean nothing in a copy.
        nothing = {"_memory": None, "_layout": None, "_headers": None, "_executor": None}
        return self.__dict__ | nothing | {"_assignments": -1}

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

    def _keep_rate(self) -> None:
        schedule = self.hyper.schedules["learning_rate"]
        if schedule.constant:
            self.rate[...] = schedule.at(0)

    def set_learning_rate(self, value: Any) -> str:
        """Replace the learning rate from the next step on, and return its name in the dialect.

        Args:
            value: a number, list or callable.

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
            array: to be updated in place.
            name: of the parameter.
            group: of the parameter.
            decays: whether weight decay reaches it.
            owner: the Parameter that holds the array, and may hold another one later.
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
            variables: arrays, or `Parameter`.
            groups: of each.
            decays: tells from its position and name whether weight decay reaches a parameter.

        Raises:
            TypeError, ValueError: one cannot be updated in place, or two share memory.
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
        """The learning rate of the next step.

        Raises:
            ValueError, TypeError, RuntimeError: a schedule has no valid value for it.
        """
        step = self.iterations.item() + self.program.rate.start
        own = group.learning_rate if group is not None else None
        if own is not None:
            rate = own.at(step)
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
        """The weight decay of the next step: of the group, else the optimizer's own."""
        schedules = self.hyper.schedules
        schedule = group.weight_decay or schedules.get("l2_weight_decay") or schedules.get("decoupled_weight_decay")
        if schedule is None:
            return self.program.update.decay or 0.0
        return schedule.at(self.iterations.item() + self.program.rate.start)

    def check_gradient(self, slot: Slot, gradient: Any) -> Any:
        """A gradient as an array of the right shape, or as RowSparse.

        Raises:
            TypeError: it does not hold real numbers.
            ValueError (or what the dialect raises): its shape is wrong.
        """
        if isinstance(gradient, RowSparse):
            return gradient
        array = real_array(gradient, f"the gradient of {slot.name}")
        if array.shape != slot.array.shape:
            raise self._wrong_gradients(
                f"the gradient of {slot.name} has shape {array.shape}, but the parameter has shape {slot.array.shape}"
            )
        return array

    def step(self, indices: Sequence[int], gradients: Sequence[Any]) -> None:
        """Make one step, whole or not at all.

        Args:
            indices: which slots have a gradient, each once.
            gradients: their gradients, in the same order.

        Raises:
            TypeError, ValueError: a gradient does not fit, or a schedule gave no valid number; then
                parameters and state are as they were.
        """
        layout = self._layout_of(tuple(indices))
        step = Step(self, layout.kinds if layout is not None else [kind_of(self.slots[i]) for i in indices])
        bundles: Sequence[Bundle]
        if layout is not None and layout.accepts(gradients, self.memory):
            layout.load(gradients)
            bundles = layout.bundles
        else:
            layout = None
            with np.errstate(all="ignore"):
                bundles = [self._taken(self.slots[i], one) for i, one in zip(indices, gradients, strict=True)]
        # Casts may overflow, and a user's numpy.seterr(all="raise") must not stop a step. Compiled code does not ask.
        with np.errstate(all="ignore") if layout is None or not layout.compiled else nullcontext():
            operations = self._operations(bundles, layout, step)
            with Uninterrupted():
                whole(operations)
        for bundle in layout.bundles if layout is not None else ():
            bundle.batch.release()

    def _taken(self, slot: Slot, gradient: Any) -> SlotBundle:
        array = self.check_gradient(slot, gradient)
        if isinstance(array, np.ndarray) and self.memory.touches(array):
            array = array.copy()
        return SlotBundle(slot, array, self.numerics)

    def _operations(self, bundles: Sequence[Bundle], layout: Layout | None, step: Step) -> list[Operation]:
        """Do all of a step that can fail, and return what is left: what writes.

        Args:
            bundles: the gradients.
            layout: where the bundles are from, if they are from one.
            step: its numbers.
        """
        program = step.program
        if program.every is None:
            self._pass(program.stages, bundles, layout, step)
            operations = self._updates(bundles, step)
        else:
            self._pass(program.each_call, bundles, layout, step)
            operations = [bundle.accumulate(program.every if step.completes else None) for bundle in bundles]
            if step.completes:

                def updates() -> list[Operation]:
                    self._pass(program.stages, bundles, layout, step)
                    return self._updates(bundles, step)

                operations += [later(updates), self._empty_accumulators]
        if program.average is not None:
            operations += self._averages(program.average, layout, step)
        after, powers = self.iterations + 1, step.powers

        def count() -> None:
            if self.powers is not None and powers is not None:
                self.powers[:] = powers
            self.iterations[...] = after

        return [*operations, self.write_back, count]

    def _empty_accumulators(self) -> None:
        for slot in self.slots:
            if slot.accumulated is not None:
                slot.accumulated[...] = 0

    def _pass(
        self, instructions: Sequence[Instruction], bundles: Sequence[Bundle], layout: Layout | None, step: Step
    ) -> None:
        """Give each bundle its programs: the instructions in order, with the numbers of this step."""
        simple = layout is not None and self._simple(step.program)
        key = (step.program, step.rates, step.decays)
        if simple and layout is not None and layout.programs is not None and layout.programs[0] == key:
            for bundle, programs in zip(bundles, layout.programs[1], strict=True):
                bundle.programs = programs
            return
        for bundle in bundles:
            bundle.programs = [()] * len(bundle.kinds)
        with np.errstate(all="ignore"):
            Prepared(self.numerics, step).run(instructions, bundles)
        if simple and layout is not None:
            layout.programs = (key, [bundle.programs for bundle in bundles])

    def _updates(self, bundles: Sequence[Bundle], step: Step) -> list[Operation]:
        """The updates of all parameters; dense gradients of the same kind of memory in one call of compiled code."""
        operations: list[Operation] = []
        joined: dict[tuple[np.dtype[Any], np.dtype[Any]], list[SlotBundle]] = {}
        for bundle in bundles:
            if isinstance(bundle, SlotBundle) and (dtypes := self._compilable(bundle)) is not None:
                joined.setdefault(dtypes, []).append(bundle)
            else:
                operations.append(bundle.update(step))
        for (_, gradient_dtype), chosen in joined.items():
            batch = self._batch([one.slot for one in chosen], range(len(chosen)), gradient_dtype)
            batch.load([one.dense for one in chosen if one.dense is not None])
            one_batch = BatchBundle(batch, [one.kinds[0] for one in chosen])
            one_batch.programs = [one.programs[0] for one in chosen]
            operations.append(one_batch.update(step))
        return operations

    def _compilable(self, bundle: SlotBundle) -> tuple[np.dtype[Any], np.dtype[Any]] | None:
        """The dtypes of a parameter and a gradient that compiled code can read, else None."""
        compiled, slot, dense = self._executor, bundle.slot, bundle.dense
        if (
            compiled is not None
            and dense is not None
            and slot.plain
            and slot.array.dtype in compiled.SUPPORTED
            and dense.dtype in compiled.SUPPORTED
            and dense.flags.c_contiguous
            and dense.flags.aligned
            and all(instruction.scalar for instruction in bundle.programs[0])
        ):
            return slot.array.dtype, dense.dtype
        return None

    def _averages(self, average: Average, layout: Layout | None, step: Step) -> list[Operation]:
        """The moves of the averages, and the overwriting of the parameters by them where it is time to."""
        done = step.number - 1
        momentum = 0.0 if done == 0 and average.starts_with_first_update else average.momentum
        operations: list[Operation] = []
        # Parameters without a gradient are averaged too, and a layout has only those with one.
        if layout is not None and len(layout.indices) == len(self.slots):
            for bundle in layout.bundles:
                weights = average_weights(momentum, self.numerics, bundle.kinds[0].dtype)
                operations.append(bundle.batch.move_averages(*weights))
        else:
            for slot in self.slots:
                assert slot.average is not None
                weights = average_weights(momentum, self.numerics, slot.array.dtype)
                operations.append(blocked.move_average(slot.average, slot.array, *weights, self.numerics))
        if average.overwrite is not None and (done + 1) % average.overwrite == 0:
            operations.append(self._overwrite)
        return operations

    def _overwrite(self) -> None:
        for slot in self.slots:
            slot.array[...] = slot.average

    # The common case: every gradient is an array of its parameter's dtype. Then the same tables serve step after step.

    @staticmethod
    def _simple(program: Program) -> bool:
        """Return whether no stage needs a reduction or state of its own."""
        return program.every is None and program.average is None and not program.reduces

    def _layout_of(self, indices: tuple[int, ...]) -> Layout | None:
        if self._layout is not None and (self._layout.indices is indices or self._layout.indices == indices):
            return self._layout
        slots = [self.slots[i] for i in indices]
        if not slots or not all(slot.plain and not slot.group.centralize for slot in slots):
            return None
        self._layout = Layout.of(indices, slots, self._batch)
        return self._layout

    def _batch(self, slots: Sequence[Slot], kinds: Sequence[int], gradient_dtype: np.dtype[Any]) -> Batch:
        tensors = Tensors(
            [slot.array for slot in slots],
            [slot.m for slot in slots],
            [slot.v for slot in slots],
            [slot.vhat for slot in slots if slot.vhat is not None],
            [slot.accumulated for slot in slots if slot.accumulated is not None],
            [slot.average for slot in slots if slot.average is not None],
            kinds,
        )
        compiled = self._executor
        if compiled is not None and slots[0].array.dtype in compiled.SUPPORTED:
            return CompiledBatch(compiled, self.numerics, tensors, gradient_dtype, self.shares)
        return BlockedBatch(self.numerics, tensors)

    @property
    def memory(self) -> Memory:
        """Return where parameters and state lie."""
        if self._memory is None:
            self._memory = Memory([array for slot in self.slots for array in slot.kept.values()])
        return self._memory
