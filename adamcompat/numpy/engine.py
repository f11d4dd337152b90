"""One optimizer's step on NumPy arrays; knows nothing of calling conventions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.executors import blocked
from adamcompat.interrupts import Uninterrupted
from adamcompat.numpy.arrays import (
    RowSparse,
    real_array,
)
from adamcompat.numpy.batch import Batch, BlockedBatch, Tensors
from adamcompat.numpy.bundles import BatchBundle, Bundle, SlotBundle
from adamcompat.numpy.compiled_batch import CompiledBatch
from adamcompat.numpy.kept import Kept
from adamcompat.numpy.layout import Layout
from adamcompat.numpy.prepared import Prepared
from adamcompat.numpy.slots import Slot, kind_of
from adamcompat.numpy.step import Step
from adamcompat.program import Average, Instruction, Program
from adamcompat.stages import average_weights
from adamcompat.whole import Operation, later, whole


@dataclass(slots=True)
class Pending:
    """Hold a step of which nothing is left but to write; not frozen, for that costs a microsecond.

    Attributes:
        operations: they write, in order.
        bundles: they hold the gradients, to whose memory the operations go by address.
        layout: the layout that the bundles are from, or None where they are from none.
        gradients: what the bundles were loaded from. It lives until all is written, for large gradients are read where
            they are.
        at_once: writes all of it in one call that nothing can interrupt, and there are no operations; None where there
            is no such call.
    """

    operations: list[Operation]
    bundles: Sequence[Bundle]
    layout: Layout | None
    gradients: Sequence[Any] = ()
    at_once: Operation | None = None

    @property
    def compiled(self) -> bool:
        """Return whether all of it is compiled code, which asks no user's numpy.seterr."""
        return self.layout is not None and self.layout.compiled

    def release(self) -> None:
        """Let the gradients go, when everything is written."""
        for bundle in self.layout.bundles if self.layout is not None else ():
            bundle.batch.release()


def write(parts: Sequence[Pending]) -> None:
    """Write all parts of a step, whole.

    Args:
        parts: what is left of them. One that is written at once is alone.
    """
    if len(parts) == 1 and parts[0].at_once is not None:
        # Nothing can interrupt the call, so that no signal need be held back, and nothing be done again.
        parts[0].at_once()
        return
    compiled = all(part.compiled for part in parts)
    with nullcontext() if compiled else np.errstate(all="ignore"), Uninterrupted():
        whole([operation for part in parts for operation in part.operations])
    for part in parts:
        part.release()


class Engine(Kept):
    """Make the steps of one optimizer; see `Kept` for the arguments."""

    def check_gradient(self, slot: Slot, gradient: Any) -> Any:
        """Return a gradient as an array of its parameter's shape; `RowSparse` is returned as it is.

        Args:
            slot: the parameter.
            gradient: an array, numbers in lists, or `RowSparse`.

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
            indices: the places of the slots that have a gradient, each once.
            gradients: their gradients, in the same order.

        Raises:
            TypeError, ValueError: a gradient does not fit, or a schedule gave no valid number; then
                parameters and state are as they were.
        """
        # A tuple stays as it is, with all that it holds, until everything is written.
        gradients = tuple(gradients)
        layout, step = self._loaded(indices, gradients)
        if layout is not None and self._at_once(layout, step):
            self._make_at_once(layout, step)
            return
        part = self._prepared(indices, gradients, layout, step)
        write([part])

    def _at_once(self, layout: Layout, step: Step) -> bool:
        """Return whether one call of compiled code may write all of a step."""
        return layout.at_once and self._simple(step.program) and not self.trains_copies

    def _make_at_once(self, layout: Layout, step: Step) -> None:
        """Write all of a step in one call of compiled code, which nothing can interrupt."""
        self._pass(step.program.stages, layout.bundles, layout, step)
        ending = self.ending
        ending.prepare(step.powers)
        layout.bundles[0].update_at_once(step, ending.writes)

    def _loaded(self, indices: Sequence[int], gradients: tuple[Any, ...]) -> tuple[Layout | None, Step]:
        """Return the layout that has loaded the gradients, or None where there is none, and the numbers of the step."""
        layout = self._layout_of(tuple(indices))
        step = Step(self, layout.kinds if layout is not None else [kind_of(self.slots[i]) for i in indices])
        return layout if layout is not None and layout.take(gradients, self.memory) else None, step

    def prepared(self, indices: Sequence[int], gradients: Sequence[Any]) -> Pending:
        """Do all of a step that can fail.

        Args:
            indices: the places of the slots that have a gradient, each once.
            gradients: their gradients, in the same order.

        Returns:
            The operations that are left, which write.

        Raises:
            TypeError, ValueError: a gradient does not fit, or a schedule gave no valid number; then
                parameters and state are as they were.
        """
        gradients = tuple(gradients)
        return self._prepared(indices, gradients, *self._loaded(indices, gradients))

    def _prepared(
        self, indices: Sequence[int], gradients: tuple[Any, ...], layout: Layout | None, step: Step
    ) -> Pending:
        bundles: Sequence[Bundle]
        if layout is not None:
            bundles = layout.bundles
        else:
            with np.errstate(all="ignore"):
                bundles = [self._taken(self.slots[i], one) for i, one in zip(indices, gradients, strict=True)]
        # Casts may overflow, and a user's numpy.seterr(all="raise") must not stop a step. Compiled code does not ask.
        with np.errstate(all="ignore") if layout is None or not layout.compiled else nullcontext():
            return Pending(self._operations(bundles, layout, step), bundles, layout, gradients)

    def pointed(self, indices: Sequence[int], addresses: NDArray[np.int64], *, alone: bool) -> Pending | None:
        """Do all of a step that can fail, with gradients that compiled code can read where they are.

        Args:
            indices: the places of the slots that have a gradient, each once.
            addresses: where these are. Each is C-contiguous and aligned, with the dtype and shape of its parameter,
                apart from all memory that is written, and must outlive the step.
            alone: whether this is all of a step, which may then be written at once.

        Returns:
            What is left to write; None where there is no compiled code, so that arrays are needed.

        Raises:
            ValueError: a schedule gave no valid number.
        """
        layout = self._layout_of(tuple(indices))
        if layout is None or not layout.compiled:
            return None
        step = Step(self, layout.kinds)
        layout.point(addresses)
        if alone and self._at_once(layout, step):
            return Pending([], layout.bundles, layout, at_once=partial(self._make_at_once, layout, step))
        return Pending(self._operations(layout.bundles, layout, step), layout.bundles, layout)

    def _taken(self, slot: Slot, gradient: Any) -> SlotBundle:
        array = self.check_gradient(slot, gradient)
        if isinstance(array, np.ndarray) and self.memory.touches(array):
            array = array.copy()
        return SlotBundle(slot, array, self.numerics)

    def _operations(self, bundles: Sequence[Bundle], layout: Layout | None, step: Step) -> list[Operation]:
        """Do all of a step that can fail, and return the operations that are left, which write.

        Args:
            bundles: the gradients.
            layout: the layout that the bundles are from, or None where they are from none.
            step: the numbers of the step.
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
            if self.counts is not None:
                self.counts[...] = after
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
        key = (step.program, step.rates, step.decays)
        if layout is not None and layout.programs is not None and layout.programs[0] == key:
            for bundle, programs in zip(bundles, layout.programs[1], strict=True):
                bundle.programs = programs
            return
        for bundle in bundles:
            bundle.programs = [()] * len(bundle.kinds)
        with np.errstate(all="ignore"):
            Prepared(self.numerics, step).run(instructions, bundles)
        if layout is not None and self._simple(step.program):
            layout.programs = (key, [bundle.programs for bundle in bundles])

    def _updates(self, bundles: Sequence[Bundle], step: Step) -> list[Operation]:
        """Return the updates of all parameters; dense gradients of the same dtypes share one call of compiled code."""
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
        """Return the dtypes of a parameter and its gradient where compiled code can read both, else None."""
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
        """Return the operations that move the averages and, where it is time to, overwrite the parameters by them."""
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
            return CompiledBatch(compiled, self.numerics, tensors, gradient_dtype, self.shares, self.team)
        return BlockedBatch(self.numerics, tensors)
