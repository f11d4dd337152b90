"""One optimizer's state on NumPy arrays, and its step; knows nothing of calling conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import adamcompat.executors as executors
import adamcompat.kernel as kernel
from adamcompat.executors import blocked
from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.interrupts import Uninterrupted
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.arrays import Array, RowSparse, real_array
from adamcompat.numpy.batch import GATHER_UP_TO, Batch, BlockedBatch, CompiledBatch, Memory, Tensors
from adamcompat.numpy.slots import Kind, Slot, kind_of
from adamcompat.numpy.step import Step
from adamcompat.stages import (
    SUBTRACT,
    Instruction,
    Program,
    average_weights,
    clip_factors,
    elementwise,
    global_clip_factor,
)


class _Work:
    """One parameter of one step: its gradient, brought into order, and what is to be done to it."""

    __slots__ = ("dense", "program", "slot", "source", "sparse")

    def __init__(self, slot: Slot, gradient: Any, real: np.dtype[Any]) -> None:
        self.slot = slot
        self.program: list[Instruction] = []
        self.dense: Array | None = None
        self.sparse: tuple[NDArray[np.intp], Array] | None = None
        if isinstance(gradient, RowSparse):
            self.sparse = gradient.merged(slot.array.shape, slot.name, real)
            self.source: blocked.Gradient = blocked.Rows(*self.sparse, slot.array.shape)
        else:
            self.use(gradient)

    def use(self, gradient: Array) -> None:
        """Take a dense gradient."""
        self.dense, self.sparse = gradient, None
        self.source = blocked.Elements(gradient)


@dataclass(slots=True)
class _Call:
    """One batch of a step, and which of the step's gradients and kinds belong to it."""

    batch: Batch
    positions: list[int]
    kinds: list[int]


@dataclass(slots=True)
class _Layout:
    """What stays the same while the same parameters are updated step after step."""

    indices: tuple[int, ...]
    types: list[type]
    shapes: list[tuple[int, ...]]
    dtypes: list[np.dtype[Any]]
    large: list[int]
    kinds: list[Kind]
    calls: list[_Call]
    compiled: bool
    programs: tuple[Any, list[Program]] | None = None


class Engine:
    """State and step of one optimizer.

    Args:
        dialect: whose order of stages and semantics to follow.
        numerics: how to round.
        hyper: a function that returns the current hyperparameters.
        iterations: an integer array of one element that counts the calls.
        wrong_gradients: the exception for gradients that do not fit.
    """

    def __init__(
        self,
        dialect: Dialect,
        numerics: Numerics,
        hyper: Callable[[], Hyperparameters],
        iterations: NDArray[Any],
        wrong_gradients: type[Exception],
    ) -> None:
        self.dialect = dialect
        self.numerics = numerics
        self.slots: list[Slot] = []
        self.iterations = iterations
        self.rate = np.zeros((), np.float64)
        self.powers = np.ones(2, kernel.POWER_DTYPE) if numerics.beta_power == "product" else None
        # How the original shares a tensor among threads, where that shows in its bits.
        self.shares: Callable[[int], list[int]] | None = None
        self._current = hyper
        self._wrong_gradients = wrong_gradients
        self._memory: Memory | None = None
        self._layout: _Layout | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tables of addresses mean nothing in a copy.
        return self.__dict__ | {"_memory": None, "_layout": None}

    def forget_memory(self) -> None:
        """Take note that arrays of the slots were exchanged for others of the same shape."""
        self._memory = self._layout = None

    def hyper(self) -> Hyperparameters:
        """The current hyperparameters."""
        return self._current()

    def add(self, array: Array, name: str, group: Group, *, decays: bool) -> None:
        """Create the state of one more parameter."""
        hyper = self.hyper()

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
            zeros(hyper["amsgrad"]),
            zeros(hyper["use_ema"]),
            zeros(hyper["accumulation_steps"] is not None),
        )
        if slot.average is not None and self.dialect.semantics.average_start == "initial":
            slot.average[...] = array
        self.slots.append(slot)
        self._memory = self._layout = None

    def learning_rate(self, group: Group | None = None) -> float:
        """The learning rate of the next step.

        Raises:
            ValueError, TypeError, RuntimeError: a schedule has no valid value for it.
        """
        step = int(self.iterations.reshape(())) + self.dialect.semantics.schedule_start
        own = group.learning_rate if group is not None else None
        if own is not None:
            rate = own.at(step)
        else:
            schedule = self.hyper().schedules["learning_rate"]
            rate = float(self.rate) if schedule.constant else schedule.at(step)
            if not np.isfinite(rate):
                raise ValueError(f"the learning rate is {rate!r}; assign a finite number")
        decay = self.hyper()["inverse_time_decay"]
        if not decay:
            return rate
        if self.numerics.surroundings == "once":
            return float(rate / (1 + decay * step))
        return float(np.float32(rate) / (np.float32(1) + np.float32(decay) * np.float32(step)))

    def l2_decay(self, group: Group) -> float:
        """The L2 decay of the next step."""
        step = int(self.iterations.reshape(())) + self.dialect.semantics.schedule_start
        schedule = group.weight_decay or self.hyper().schedules.get("l2_weight_decay")
        return schedule.at(step) if schedule is not None else 0.0

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
        """Make one step.

        Args:
            indices: which slots have a gradient, each once.
            gradients: their gradients, in the same order.

        Raises:
            TypeError, ValueError: a gradient does not fit, or a schedule gave no valid number; then
                parameters and state are as they were.
        """
        executors.compiled()  # an executor that is not there is an error before anything is written
        layout = self._layout_of(tuple(indices))
        step = Step(self, layout.kinds if layout is not None else [kind_of(self.slots[i]) for i in indices])
        simple = self._simple(step.hyper)
        # Casts may overflow; a user's numpy.seterr(all="raise") must not stop a step halfway.
        if layout is not None and (simple or layout.compiled) and self._accepts(layout, gradients):
            with np.errstate(all="ignore"), Uninterrupted():
                if simple:
                    self._commit_simple(layout, gradients, step)
                else:
                    self._commit_layout(layout, gradients, step)
                self._finish(step)
            return
        with np.errstate(all="ignore"):
            work = [self._work(self.slots[i], gradient) for i, gradient in zip(indices, gradients, strict=True)]
            with Uninterrupted():
                self._commit(work, step)
                self._finish(step)

    def _work(self, slot: Slot, gradient: Any) -> _Work:
        real = kernel.stage_dtype(self.numerics, slot.array.dtype)
        work = _Work(slot, self.check_gradient(slot, gradient), real)
        if work.dense is not None and self.memory.touches(work.dense):
            work.use(work.dense.copy())
        return work

    def _finish(self, step: Step) -> None:
        if self.powers is not None and step.powers is not None:
            self.powers[:] = step.powers
        self.iterations += 1

    # The simple case: every gradient is an array of its parameter's dtype, and no stage needs a
    # reduction or state of its own. Then the same tables serve step after step.

    def _simple(self, hyper: Hyperparameters) -> bool:
        return (
            hyper["accumulation_steps"] is None
            and not hyper["use_ema"]
            and hyper["clip_norm"] is None
            and hyper["global_clip_norm"] is None
        )

    def _layout_of(self, indices: tuple[int, ...]) -> _Layout | None:
        if self._layout is not None and (self._layout.indices is indices or self._layout.indices == indices):
            return self._layout
        slots = [self.slots[i] for i in indices]
        if not slots or not all(slot.plain and not slot.group.centralize for slot in slots):
            return None
        kinds: list[Kind] = []
        places: dict[tuple[int, bool, np.dtype[Any]], int] = {}
        members: dict[np.dtype[Any], list[tuple[int, int]]] = {}
        for position, slot in enumerate(slots):
            kind = kind_of(slot)
            key = (id(kind.group), kind.decays, kind.dtype)
            if key not in places:
                places[key] = len(kinds)
                kinds.append(kind)
            members.setdefault(kind.dtype, []).append((position, places[key]))
        calls = []
        for dtype, entries in members.items():
            own = sorted({kind for _, kind in entries})
            positions = [position for position, _ in entries]
            batch = self._batch([slots[i] for i in positions], [own.index(kind) for _, kind in entries], dtype)
            calls.append(_Call(batch, positions, own))
        self._layout = _Layout(
            indices,
            [np.ndarray] * len(slots),
            [slot.array.shape for slot in slots],
            [slot.array.dtype for slot in slots],
            [i for i, slot in enumerate(slots) if slot.array.size > GATHER_UP_TO],
            kinds,
            calls,
            all(isinstance(call.batch, CompiledBatch) for call in calls),
        )
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
        compiled = executors.compiled()
        if compiled is not None and slots[0].array.dtype in compiled.SUPPORTED:
            return CompiledBatch(compiled, self.numerics, tensors, gradient_dtype, self.shares)
        return BlockedBatch(self.numerics, tensors)

    def _accepts(self, layout: _Layout, gradients: Sequence[Any]) -> bool:
        """Whether the gradients need no conversion; compares whole lists, which is fast."""
        return (
            list(map(type, gradients)) == layout.types
            and [g.shape for g in gradients] == layout.shapes
            and [g.dtype for g in gradients] == layout.dtypes
            and all(
                g.flags.c_contiguous and g.flags.aligned and not self.memory.touches(g)
                for g in [gradients[i] for i in layout.large]
            )
        )

    def _commit_simple(self, layout: _Layout, gradients: Sequence[Array], step: Step) -> None:
        key = (step.hyper, step.rates, step.decays)
        if layout.programs is None or layout.programs[0] != key:
            found: list[Program] = [
                [instruction for stage in self.dialect.stages for instruction in self._elementwise(stage, kind, step)]
                for kind in layout.kinds
            ]
            layout.programs = (key, found)
        programs = layout.programs[1]
        coefficients = [step.coefficients(kind) for kind in layout.kinds]
        for call in layout.calls:
            call.batch.run(
                gradients if len(layout.calls) == 1 else [gradients[i] for i in call.positions],
                [coefficients[i] for i in call.kinds],
                [programs[i] for i in call.kinds],
            )

    def _commit_layout(self, layout: _Layout, gradients: Sequence[Array], step: Step) -> None:
        """As `_commit`, with compiled code for the reductions and the other state too."""
        stepwise = self.numerics.surroundings == "stepwise"
        # A program is never changed in place: batches recognize one that they have seen by its identity.
        programs: list[Program] = [()] * len(layout.kinds)

        def batches() -> Iterator[tuple[CompiledBatch, list[int], list[Program], Callable[[Any], Any]]]:
            for call in layout.calls:
                assert isinstance(call.batch, CompiledBatch)
                real = kernel.stage_dtype(self.numerics, layout.kinds[call.kinds[0]].dtype).type
                yield call.batch, call.kinds, [programs[i] for i in call.kinds], real

        for call in layout.calls:
            assert isinstance(call.batch, CompiledBatch)
            call.batch.load(gradients if len(layout.calls) == 1 else [gradients[i] for i in call.positions])
        for stage in self.dialect.stages:
            more: list[list[Instruction]] = [[] for _ in programs]
            if stage == "accumulate" and step.every is not None:
                for batch, _, own, _ in batches():
                    batch.accumulate(own, step.every if step.completes else None)
                programs = [()] * len(layout.kinds)
                if not step.completes:
                    break
            elif stage == "clip_norm" and step.hyper["clip_norm"] is not None:
                for batch, kinds, own, real in batches():
                    norms = np.sqrt(batch.squares(own))
                    for i in kinds:
                        more[i] = clip_factors(norms, step.hyper["clip_norm"], real, stepwise=stepwise)
            elif stage == "global_clip_norm" and step.hyper["global_clip_norm"] is not None:
                norm = float(np.sqrt(sum(float(batch.squares(own).sum()) for batch, _, own, _ in batches())))
                for _, kinds, _, real in batches():
                    for i in kinds:
                        more[i] = global_clip_factor(norm, step.hyper["global_clip_norm"], real, stepwise=stepwise)
            elif stage == "update":
                for batch, kinds, own, _ in batches():
                    batch.update([step.coefficients(layout.kinds[i]) for i in kinds], own)
            else:
                more = [self._elementwise(stage, kind, step) for kind in layout.kinds]
            programs = [(*program, *added) if added else program for program, added in zip(programs, more, strict=True)]
        self._after_update(step, layout)

    @property
    def memory(self) -> Memory:
        """Where parameters and state lie."""
        if self._memory is None:
            self._memory = Memory([array for slot in self.slots for array in slot.kept.values()])
        return self._memory

    # The general case.

    def _elementwise(self, stage: str, kind: Kind, step: Step) -> list[Instruction]:
        """The instructions of a stage that needs no reduction."""
        rate, l2_decay = step.rates[id(kind.group)], step.decays[id(kind.group)]
        return elementwise(
            stage, self.dialect, self.numerics, step.hyper, decays=kind.decays, rate=rate, l2_decay=l2_decay or None
        )

    def _commit(self, work: Sequence[_Work], step: Step) -> None:
        stepwise = self.numerics.surroundings == "stepwise"
        for stage in self.dialect.stages:
            if stage == "accumulate" and step.every is not None:
                for item in work:
                    self._accumulate(item, step.every if step.completes else None)
                if not step.completes:
                    break
            elif stage == "centralize":
                for item in work:
                    if item.slot.group.centralize and item.slot.array.ndim > 1:
                        means = blocked.row_means(item.source, item.slot.array, item.program, self.numerics)
                        item.program.append(Instruction(SUBTRACT, means))
            elif stage == "clip_norm" and step.hyper["clip_norm"] is not None:
                for item in work:
                    norm, real = float(np.sqrt(self._squares(item))), self._real(item)
                    item.program += clip_factors(norm, step.hyper["clip_norm"], real, stepwise=stepwise)
            elif stage == "global_clip_norm" and step.hyper["global_clip_norm"] is not None:
                norm = float(np.sqrt(sum(self._squares(item) for item in work)))
                for item in work:
                    item.program += global_clip_factor(
                        norm, step.hyper["global_clip_norm"], self._real(item), stepwise=stepwise
                    )
            elif stage == "update":
                self._update(work, step)
            else:
                for item in work:
                    item.program += self._elementwise(stage, kind_of(item.slot), step)
        self._after_update(step, None)

    def _after_update(self, step: Step, layout: _Layout | None) -> None:
        """Empty the accumulators after an update, and move the averages."""
        if step.completes and step.every is not None:
            for slot in self.slots:
                if slot.accumulated is not None:
                    slot.accumulated[...] = 0
        if step.hyper["use_ema"]:
            self._average(step, layout)

    def _real(self, item: _Work) -> Callable[[Any], Any]:
        return kernel.stage_dtype(self.numerics, item.slot.array.dtype).type

    def _squares(self, item: _Work) -> float:
        return blocked.sum_of_squares(item.source, item.slot.array, item.program, self.numerics)

    def _accumulate(self, item: _Work, divisor: int | None) -> None:
        total = item.slot.accumulated
        assert total is not None
        blocked.accumulate(total, item.source, item.slot.array, item.program, self.numerics, divisor)
        item.use(total)
        item.program = []

    def _update(self, work: Sequence[_Work], step: Step) -> None:
        joined: dict[tuple[np.dtype[Any], np.dtype[Any]], list[_Work]] = {}
        compiled = executors.compiled()
        for item in work:
            slot, dense = item.slot, item.dense
            if item.sparse is not None and step.hyper["lazy"]:
                self._update_rows(item, item.sparse, step.coefficients(kind_of(slot)))
            elif (
                compiled is not None
                and dense is not None
                and slot.plain
                and slot.array.dtype in compiled.SUPPORTED
                and dense.dtype in compiled.SUPPORTED
                and dense.flags.c_contiguous
                and dense.flags.aligned
                and all(instruction.scalar for instruction in item.program)
            ):
                joined.setdefault((slot.array.dtype, dense.dtype), []).append(item)
            else:
                blocked.update_one(
                    slot.array,
                    item.source,
                    slot.m,
                    slot.v,
                    slot.vhat,
                    step.coefficients(kind_of(slot)),
                    item.program,
                    self.numerics,
                )
        for (_, gradient_dtype), items in joined.items():
            batch = self._batch([item.slot for item in items], range(len(items)), gradient_dtype)
            batch.run(
                [item.dense for item in items if item.dense is not None],
                [step.coefficients(kind_of(item.slot)) for item in items],
                [item.program for item in items],
            )

    def _update_rows(self, item: _Work, sparse: tuple[NDArray[np.intp], Array], coefficients: Coefficients) -> None:
        """Update the rows that a gradient holds and leave the others as they are."""
        slot, (rows, values) = item.slot, sparse
        many = max(8, blocked.BLOCK // max(blocked.row_size(slot.array.shape), 1) // 8 * 8)
        for start in range(0, len(rows), many):
            chosen = rows[start : start + many]
            program = [one if one.scalar else Instruction(one.code, one.a[chosen], one.b) for one in item.program]
            kept = [array for array in (slot.array, slot.m, slot.v, slot.vhat) if array is not None]
            parts = [array[chosen] for array in kept]
            blocked.update_one(
                parts[0],
                blocked.Elements(np.ascontiguousarray(values[start : start + many])),
                parts[1],
                parts[2],
                parts[3] if slot.vhat is not None else None,
                coefficients,
                program,
                self.numerics,
            )
            for array, part in zip(kept, parts, strict=True):
                array[chosen] = part

    def _average(self, step: Step, layout: _Layout | None) -> None:
        done = step.number - 1
        first = done == 0 and self.dialect.semantics.average_start == "first_update"
        frequency = step.hyper["ema_overwrite_frequency"]
        momentum = 0.0 if first else step.hyper["ema_momentum"]
        # Parameters without a gradient are averaged too, and a layout has only those with one.
        if layout is not None and len(layout.indices) == len(self.slots):
            for call in layout.calls:
                assert isinstance(call.batch, CompiledBatch)
                dtype = layout.kinds[call.kinds[0]].dtype
                call.batch.move_averages(*average_weights(momentum, self.numerics, dtype))
        else:
            for slot in self.slots:
                assert slot.average is not None
                blocked.move_average(slot.average, slot.array, momentum, self.numerics)
        if frequency is not None and (done + 1) % frequency == 0:
            for slot in self.slots:
                slot.array[...] = slot.average
