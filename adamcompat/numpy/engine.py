"""One optimizer's state on NumPy arrays, and its step; knows nothing of calling conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import adamcompat.executors as executors
import adamcompat.kernel as kernel
from adamcompat.executors import blocked
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.interrupts import Uninterrupted
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.numpy.arrays import Array, RowSparse, real_array
from adamcompat.numpy.batch import GATHER_UP_TO, Batch, Memory
from adamcompat.schedules import Schedule
from adamcompat.stages import (
    ADD_DECAY,
    CLIP_VALUE,
    DECOUPLED_DECAY,
    DIVIDE,
    MULTIPLY,
    SUBTRACT,
    Instruction,
    Program,
    clip_factors,
    global_clip_factor,
)


@dataclass(slots=True)
class Group:
    """Hyperparameters that parameters have in common.

    Attributes:
        learning_rate: None means the optimizer's own.
        weight_decay: L2 decay; None means the optimizer's own.
        centralize: whether gradients lose their mean.
    """

    learning_rate: Schedule | None = None
    weight_decay: Schedule | None = None
    centralize: bool = False


@dataclass(slots=True)
class Slot:
    """One parameter and its state."""

    array: Array
    name: str
    group: Group
    decays: bool
    m: Array
    v: Array
    vhat: Array | None
    average: Array | None
    accumulated: Array | None

    @property
    def fusable(self) -> bool:
        """Whether compiled code can walk through the array."""
        flags = self.array.flags
        return bool(flags.c_contiguous and flags.aligned and self.array.dtype.itemsize > 2)


class _Work:
    """One parameter of one step: its gradient, brought into order, and what is to be done to it."""

    __slots__ = ("coefficients", "dense", "program", "slot", "source", "sparse")

    def __init__(self, slot: Slot, gradient: Any, real: np.dtype[Any]) -> None:
        self.slot = slot
        self.program: list[Instruction] = []
        self.coefficients: Coefficients | None = None
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
        self.powers: dict[np.dtype[Any], NDArray[Any]] = {}
        self._hyper = hyper
        self._wrong_gradients = wrong_gradients
        self._memory: Memory | None = None
        self._batches: dict[tuple[Any, ...], Batch] = {}
        self._programs: dict[tuple[int, bool], Program] = {}
        self._layout: tuple[tuple[int, ...], list[Any], list[Any], list[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tables of addresses mean nothing in a copy.
        return self.__dict__ | {"_memory": None, "_batches": {}, "_programs": {}, "_layout": None}

    def add(self, array: Array, name: str, group: Group, *, decays: bool) -> None:
        """Create the state of one more parameter."""
        hyper = self._hyper()

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
        if self.numerics.beta_power == "product":
            dtype = kernel.scalar_dtype(self.numerics, array.dtype)
            self.powers.setdefault(dtype, np.ones(2, dtype))
        self._memory, self._batches, self._layout = None, {}, None

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
            schedule = self._hyper().schedules["learning_rate"]
            rate = float(self.rate) if schedule.constant else schedule.at(step)
            if not np.isfinite(rate):
                raise ValueError(f"the learning rate is {rate!r}; assign a finite number")
        decay = self._hyper()["inverse_time_decay"]
        if not decay:
            return rate
        if self.numerics.surroundings == "once":
            return rate / (1 + decay * step)
        return float(np.float32(rate) / (np.float32(1) + np.float32(decay) * np.float32(step)))

    def l2_decay(self, group: Group) -> float:
        """The L2 decay of the next step."""
        step = int(self.iterations.reshape(())) + self.dialect.semantics.schedule_start
        schedule = group.weight_decay or self._hyper().schedules.get("l2_weight_decay")
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
        hyper = self._hyper()
        raw = int(self.iterations.reshape(()))
        steps = hyper["accumulation_steps"]
        completes = steps is None or (raw + 1) % steps == 0
        step = raw // (steps or 1) + 1
        beta1, beta2 = self._betas(hyper)
        coefficients: Callable[[Slot], Coefficients] | None = None
        powers: dict[np.dtype[Any], tuple[Any, Any]] = {}
        rates: dict[int, float] = {}
        if completes:
            chosen = [self.slots[i] for i in indices]
            for group in {id(slot.group): slot.group for slot in chosen}.values():
                rates[id(group)] = self.learning_rate(group)
            powers = {
                dtype: kernel.advance_powers(beta1, beta2, (pair[0], pair[1]), dtype)
                for dtype, pair in self.powers.items()
            }
            coefficients = self._coefficients(hyper, rates, powers, (beta1, beta2), step)
        if self._fast(hyper) and self._known(indices, gradients):
            assert coefficients is not None
            programs = self._plain_programs([self.slots[i] for i in indices], rates)
            self._commit_fast(indices, gradients, coefficients, programs, powers)
            return
        work = [
            _Work(slot, self.check_gradient(slot, gradient), kernel.arithmetic_dtype(self.numerics, slot.array.dtype))
            for slot, gradient in zip([self.slots[i] for i in indices], gradients, strict=True)
        ]
        self._separate(work)
        if coefficients is not None:
            for item in work:
                item.coefficients = coefficients(item.slot)
        decays = {id(item.slot.group): self.l2_decay(item.slot.group) for item in work}
        with Uninterrupted():
            self._commit(work, hyper, rates, decays, completes, steps)
            self._finish(powers)

    def _finish(self, powers: dict[np.dtype[Any], tuple[Any, Any]]) -> None:
        for dtype, pair in powers.items():
            self.powers[dtype][:] = pair
        self.iterations += 1

    def _betas(self, hyper: Hyperparameters) -> tuple[float, float]:
        found = []
        for name in ("beta1", "beta2"):
            value = hyper[name]
            found.append(value.at(0) if isinstance(value, Schedule) else value)
        return found[0], found[1]

    def _coefficients(
        self,
        hyper: Hyperparameters,
        rates: dict[int, float],
        powers: dict[np.dtype[Any], tuple[Any, Any]],
        betas: tuple[float, float],
        step: int,
    ) -> Callable[[Slot], Coefficients]:
        known: dict[tuple[float, np.dtype[Any]], Coefficients] = {}

        def of(slot: Slot) -> Coefficients:
            key = (rates[id(slot.group)], slot.array.dtype)
            if key not in known:
                known[key] = kernel.coefficients(
                    self.numerics,
                    slot.array.dtype,
                    learning_rate=key[0],
                    beta1=betas[0],
                    beta2=betas[1],
                    epsilon=hyper["epsilon"],
                    step=step,
                    nesterov=hyper["nesterov"],
                    powers=powers.get(kernel.scalar_dtype(self.numerics, slot.array.dtype)),
                )
            return known[key]

        return of

    # The fast way: every gradient is a plain array of its parameter's dtype, and no stage needs a
    # reduction. Then one table of addresses serves step after step.

    def _fast(self, hyper: Hyperparameters) -> bool:
        return (
            hyper["accumulation_steps"] is None
            and not hyper["use_ema"]
            and hyper["clip_norm"] is None
            and hyper["global_clip_norm"] is None
            and executors.compiled() is not None
            and not any(slot.group.centralize for slot in self.slots)
        )

    def _known(self, indices: Sequence[int], gradients: Sequence[Any]) -> bool:
        """Whether the gradients need no conversion; compares whole lists, which is fast."""
        key = tuple(indices)
        if self._layout is None or self._layout[0] != key:
            slots = [self.slots[i] for i in key]
            if not all(slot.fusable for slot in slots):
                return False
            shapes = [slot.array.shape for slot in slots]
            dtypes = [slot.array.dtype for slot in slots]
            self._layout = (key, [np.ndarray] * len(key), shapes, dtypes)
        _, types, shapes, dtypes = self._layout
        if list(map(type, gradients)) != types:
            return False
        if [g.shape for g in gradients] != shapes or [g.dtype for g in gradients] != dtypes:
            return False
        return all(self._in_place(g) for g in gradients if g.size > GATHER_UP_TO)

    def _in_place(self, gradient: Array) -> bool:
        flags = gradient.flags
        return bool(flags.c_contiguous and flags.aligned) and not self.memory.touches(gradient)

    @property
    def memory(self) -> Memory:
        """Where parameters and state lie."""
        if self._memory is None:
            self._memory = Memory(
                [
                    array
                    for slot in self.slots
                    for array in (slot.array, slot.m, slot.v, slot.vhat, slot.average, slot.accumulated)
                    if array is not None
                ]
            )
        return self._memory

    def _plain_programs(self, slots: Sequence[Slot], rates: dict[int, float]) -> list[Program]:
        """Programs without reductions; parameters with the same needs share one."""
        hyper = self._hyper()
        shared: dict[tuple[int, bool], Program] = {}
        for slot in slots:
            key = (id(slot.group), slot.decays)
            if key not in shared:
                program: list[Instruction] = []
                for stage in self.dialect.stages:
                    program += self._elementwise(stage, slot, hyper, rates[key[0]], self.l2_decay(slot.group))
                # An equal program stays the same object, so that a batch sees that nothing changed.
                old = self._programs.get(key)
                shared[key] = old if old == program else program
        self._programs = shared
        return [shared[id(slot.group), slot.decays] for slot in slots]

    def _commit_fast(
        self,
        indices: Sequence[int],
        gradients: Sequence[Array],
        coefficients: Callable[[Slot], Coefficients],
        programs: Sequence[Program],
        powers: dict[np.dtype[Any], tuple[Any, Any]],
    ) -> None:
        by_dtype: dict[np.dtype[Any], list[int]] = {}
        for position, i in enumerate(indices):
            by_dtype.setdefault(self.slots[i].array.dtype, []).append(position)
        nesterov = self._hyper()["nesterov"]
        calls = []
        for dtype, positions in by_dtype.items():
            chosen = tuple(indices[p] for p in positions)
            batch = self._batch(chosen, dtype)
            each = [coefficients(self.slots[i]) for i in chosen]
            calls.append((batch, [gradients[p] for p in positions], each, [programs[p] for p in positions]))
        with Uninterrupted():
            for batch, own, each, own_programs in calls:
                batch.run(own, each, own_programs, nesterov)
            self._finish(powers)

    def _batch(self, indices: tuple[int, ...], gradient_dtype: np.dtype[Any]) -> Batch:
        key = (indices, gradient_dtype)
        batch = self._batches.get(key)
        slots = [self.slots[i] for i in indices]
        if batch is None:
            fused = executors.compiled()
            assert fused is not None
            vhat = [slot.vhat for slot in slots if slot.vhat is not None]
            if len(self._batches) >= 8:
                self._batches.clear()
            batch = self._batches[key] = Batch(
                fused,
                self.numerics,
                [slot.array for slot in slots],
                [slot.m for slot in slots],
                [slot.v for slot in slots],
                vhat or None,
                gradient_dtype,
            )
        return batch

    # The general way.

    def _separate(self, work: Sequence[_Work]) -> None:
        """Copy gradients that share memory with what is about to be written."""
        for item in work:
            if item.dense is not None and self.memory.touches(item.dense):
                item.use(item.dense.copy())

    def _elementwise(
        self, stage: str, slot: Slot, hyper: Hyperparameters, rate: float, l2_decay: float
    ) -> list[Instruction]:
        """The instructions of a stage that needs no reduction."""
        once = self.numerics.surroundings == "once"
        scale = hyper["loss_scale"]
        if stage == "unscale" and scale != 1:
            if self.numerics.unscale == "reciprocal":
                return [Instruction(MULTIPLY, 1 / scale)]
            return [Instruction(DIVIDE, scale)]
        if stage == "l2_decay" and slot.decays and l2_decay:
            # Decay does not depend on the loss scale, whichever comes first.
            order = self.dialect.stages
            before = "unscale" in order and order.index("l2_decay") < order.index("unscale")
            return [Instruction(ADD_DECAY, l2_decay * scale if before else l2_decay)]
        if stage == "clip_value" and hyper["clip_value"] is not None:
            return [Instruction(CLIP_VALUE, hyper["clip_value"])]
        if stage == "decoupled_decay" and slot.decays and hyper["decoupled_weight_decay"]:
            decay = hyper["decoupled_weight_decay"]
            return [Instruction(DECOUPLED_DECAY, decay * rate)] if once else [Instruction(DECOUPLED_DECAY, decay, rate)]
        return []

    def _commit(
        self,
        work: Sequence[_Work],
        hyper: Hyperparameters,
        rates: dict[int, float],
        decays: dict[int, float],
        completes: bool,
        steps: int | None,
    ) -> None:
        stepwise = self.numerics.surroundings == "stepwise"
        for stage in self.dialect.stages:
            if stage == "accumulate" and steps is not None:
                for item in work:
                    self._accumulate(item, steps if completes else None)
                if not completes:
                    break
            elif stage == "centralize":
                for item in work:
                    if item.slot.group.centralize and item.slot.array.ndim > 1:
                        means = blocked.row_means(item.source, item.slot.array, item.program, self.numerics)
                        item.program.append(Instruction(SUBTRACT, means))
            elif stage == "clip_norm" and hyper["clip_norm"] is not None:
                for item in work:
                    norm, real = float(np.sqrt(self._squares(item))), self._real(item)
                    item.program += clip_factors(norm, hyper["clip_norm"], real, stepwise=stepwise)
            elif stage == "global_clip_norm" and hyper["global_clip_norm"] is not None:
                norm = float(np.sqrt(sum(self._squares(item) for item in work)))
                for item in work:
                    item.program += global_clip_factor(
                        norm, hyper["global_clip_norm"], self._real(item), stepwise=stepwise
                    )
            elif stage == "update":
                self._update(work, hyper["nesterov"])
            else:
                for item in work:
                    group = id(item.slot.group)
                    item.program += self._elementwise(stage, item.slot, hyper, rates.get(group, 0.0), decays[group])
        if completes and steps is not None:
            for slot in self.slots:
                if slot.accumulated is not None:
                    slot.accumulated[...] = 0
        if hyper["use_ema"]:
            self._average(hyper, steps)

    def _real(self, item: _Work) -> Callable[[Any], Any]:
        return kernel.arithmetic_dtype(self.numerics, item.slot.array.dtype).type

    def _squares(self, item: _Work) -> float:
        return blocked.sum_of_squares(item.source, item.slot.array, item.program, self.numerics)

    def _accumulate(self, item: _Work, divisor: int | None) -> None:
        total = item.slot.accumulated
        assert total is not None
        blocked.accumulate(total, item.source, item.slot.array, item.program, self.numerics, divisor)
        item.use(total)
        item.program = []

    def _update(self, work: Sequence[_Work], nesterov: bool) -> None:
        compiled: dict[tuple[np.dtype[Any], np.dtype[Any]], list[tuple[int, _Work]]] = {}
        where = {id(slot): i for i, slot in enumerate(self.slots)}
        can_fuse = executors.compiled() is not None
        for item in work:
            dense = item.dense
            if (
                can_fuse
                and dense is not None
                and item.slot.fusable
                and dense.flags.c_contiguous
                and dense.flags.aligned
                and dense.dtype.itemsize > 2
                and all(step.scalar for step in item.program)
            ):
                key = (item.slot.array.dtype, dense.dtype)
                compiled.setdefault(key, []).append((where[id(item.slot)], item))
            elif item.sparse is not None and self._hyper()["lazy"]:
                self._update_rows(item, item.sparse)
            else:
                slot = item.slot
                assert item.coefficients is not None
                blocked.update_one(
                    slot.array, item.source, slot.m, slot.v, slot.vhat, item.coefficients, item.program, self.numerics
                )
        for (_, gradient_dtype), entries in compiled.items():
            batch = self._batch(tuple(i for i, _ in entries), gradient_dtype)
            batch.run(
                [item.dense for _, item in entries if item.dense is not None],
                [item.coefficients for _, item in entries if item.coefficients is not None],
                [tuple(item.program) for _, item in entries],
                nesterov,
            )

    def _update_rows(self, item: _Work, sparse: tuple[NDArray[np.intp], Array]) -> None:
        """Update the rows that a gradient holds and leave the others as they are."""
        slot, (rows, values) = item.slot, sparse
        assert item.coefficients is not None
        many = max(8, blocked.BLOCK // max(blocked.row_size(slot.array.shape), 1) // 8 * 8)
        for start in range(0, len(rows), many):
            chosen = rows[start : start + many]
            program = [
                step if step.scalar else Instruction(step.code, step.a[chosen], step.b) for step in item.program
            ]
            kept = [array for array in (slot.array, slot.m, slot.v, slot.vhat) if array is not None]
            parts = [array[chosen] for array in kept]
            blocked.update_one(
                parts[0],
                blocked.Elements(np.ascontiguousarray(values[start : start + many])),
                parts[1],
                parts[2],
                parts[3] if slot.vhat is not None else None,
                item.coefficients,
                program,
                self.numerics,
            )
            for array, part in zip(kept, parts, strict=True):
                array[chosen] = part

    def _average(self, hyper: Hyperparameters, steps: int | None) -> None:
        done = int(self.iterations.reshape(())) // (steps or 1)
        first = done == 0 and self.dialect.semantics.average_start == "first_update"
        frequency = hyper["ema_overwrite_frequency"]
        for slot in self.slots:
            assert slot.average is not None
            blocked.move_average(slot.average, slot.array, 0.0 if first else hyper["ema_momentum"], self.numerics)
        if frequency is not None and (done + 1) % frequency == 0:
            for slot in self.slots:
                slot.array[...] = slot.average
