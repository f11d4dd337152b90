"""One step in PYNATIVE mode: the shared kernel, on the memory of the Parameters themselves.

nn.Adam runs its step as a compiled graph that keeps the buffers it saw first; a Parameter that is
loaded later gets another buffer, and training stops without a word. Here every step asks anew where
everything lies.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, context, ops
from numpy.typing import NDArray

from adamcompat import kernel
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.batch import STORAGE, Batch
from adamcompat.mindspore.gradients import Rows
from adamcompat.mindspore.memory import Forms, addresses, contiguous, settle
from adamcompat.mindspore.schedules import Sources
from adamcompat.stages import ADD_DECAY, MULTIPLY, Instruction, Program
from adamcompat.whole import Operation, whole

# What advances with each step, and how it lies in memory.
_COUNTERS = {"global_step": ctypes.c_int32, "beta1_power": ctypes.c_float, "beta2_power": ctypes.c_float}
# Attributes of an optimizer that the numbers of a step come from.
_NUMBERS = ("learning_rate", "weight_decay", "decay_flags", "beta1", "beta2", "eps", "reciprocal_scale")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Parameters with the same learning rate and decay: places in the step's numbers."""

    rate: int
    decay: int | None


@dataclass(slots=True)
class _Part:
    """Parameters of one dtype."""

    positions: list[int]
    kinds: list[_Kind]
    scalars: kernel.Scalars
    batch: Batch


@dataclass(slots=True)
class _Layout:
    """What stays the same while the same Parameters are updated step after step."""

    origin: tuple[Any, ...]
    local: bool
    forms: Forms
    written: tuple[Any, ...]
    kinds: list[_Kind]
    centralize: list[bool]
    simple: bool
    sources: Sources
    parts: list[_Part]
    betas: tuple[float, float]
    reciprocal: float
    found: bytes = b""
    addresses: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    counters: list[Any] = field(default_factory=list)


class PyNativeStep:
    """The step of one optimizer.

    Args:
        optimizer: an nn.Adam.
        dialect: its facts.
    """

    def __init__(self, optimizer: Any, dialect: Dialect) -> None:
        self._optimizer = optimizer
        self._dialect = dialect
        self._numerics: Numerics = MAPPING.numerics[dialect.numerics]
        # nn.Adam rounds every scalar to float32; its operator for float64 goes on in float64 from there.
        self._numerics_of_float64 = replace(self._numerics, scalars="float64")
        maximum = ("vhat",) if optimizer.use_amsgrad else ()
        self._origin = operator.attrgetter(*_COUNTERS, *_NUMBERS, "parameters", "moment1", "moment2", *maximum)
        self._layout: _Layout | None = None

    def ready(self) -> bool:
        """Whether every Parameter is a plain Tensor of a known dtype in the memory of this process."""
        return (self._layout or self._current()).local

    def __call__(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient for each Parameter.

        Raises:
            TypeError, ValueError: a gradient does not fit; nothing has changed.
            RuntimeError: a list of learning rates is too short; nothing has changed.
        """
        o = self._optimizer
        # Asking for an address waits too, in the versions that were tried, but does not promise it.
        settle()
        layout = self._located()
        parameters = o.parameters
        plain = self._is_plain(layout, gradients)
        if not plain:
            dense.check(gradients, parameters, self._dialect)
        step, power1, power2 = layout.counters
        numbers = layout.sources.at(step.value + self._dialect.semantics.schedule_start)
        advanced = kernel.advance_powers(*layout.betas, (power1.value, power2.value))
        parts, by_operator = layout.parts, []
        prepared = not (plain and layout.simple)
        if prepared:
            gradients = [
                self._prepared(layout, i, p, g, numbers)
                for i, (p, g) in enumerate(zip(parameters, gradients, strict=True))
            ]
            by_operator = [i for i, g in enumerate(gradients) if self._has_operator(layout, i, g)]
            settle()
            if by_operator:
                parts = self._without(layout, by_operator)
        copies = self._read(parts, gradients)
        # Operators first: one that fails has written nothing.
        operations = [
            self._by_operator(i, parameters[i], gradients[i], numbers[layout.kinds[i].rate], advanced)
            for i in by_operator
        ]
        operations += [
            part.batch.update(
                [part.scalars.at(numbers[kind.rate], powers=advanced) for kind in part.kinds],
                [[] if prepared else self._program(layout, kind, numbers) for kind in part.kinds],
            )
            for part in parts
        ]
        count = step.value + 1

        def finish() -> None:
            power1.value, power2.value = advanced
            step.value = count

        with Uninterrupted():
            whole([*operations, finish])
        del copies
        return (True,) * len(parameters)

    def _current(self) -> _Layout:
        """What was laid out, unless the optimizer's attributes are others since."""
        layout, origin = self._layout, self._origin(self._optimizer)
        if layout is None or any(map(operator.is_not, layout.origin, origin)):
            counters, state = origin[: len(_COUNTERS)], origin[len(_COUNTERS) + len(_NUMBERS) :]
            layout = self._layout = self._laid_out(origin, (*itertools.chain(*state), *counters))
        return layout

    def _located(self) -> _Layout:
        """The current layout, with the present addresses of everything that is written.

        Raises:
            TypeError: Parameters cannot be updated here any more.
            ValueError: the state does not fit.
        """
        layout = self._current()
        found = addresses(layout.written)
        if found.tobytes() == layout.found:
            return layout
        # Since the last step something was loaded, which may have another shape or dtype, or lie crosswise.
        if not layout.forms.fit(self._optimizer.parameters):
            self._layout = None
            layout = self._current()
        if not layout.local:
            # Cell.__call__ has decided by now who makes the step.
            raise TypeError(
                f"Parameters became {set(map(str, layout.forms.dtypes))} after the first step; make a new optimizer"
            )
        _check_state(layout)
        if not contiguous(layout.written):
            _straighten(layout.written)
            found = addresses(layout.written)
        layout.addresses = found[: -len(_COUNTERS)].reshape(-1, len(layout.forms.shapes)).T
        layout.counters = [
            kind.from_address(address)
            for address, kind in zip(found[-len(_COUNTERS) :].tolist(), _COUNTERS.values(), strict=True)
        ]
        for part in layout.parts:
            part.batch.place(layout.addresses[part.positions])
        layout.found = found.tobytes()
        return layout

    def _laid_out(self, origin: tuple[Any, ...], written: tuple[Any, ...]) -> _Layout:
        o, parameters = self._optimizer, self._optimizer.parameters
        sources: list[Any] = []
        places: dict[int, int] = {}

        def place(source: Any) -> int:
            if id(source) not in places:
                places[id(source)] = len(sources)
                sources.append(source)
            return places[id(source)]

        kinds = [
            _Kind(
                place(o.learning_rate[i] if o.is_group_lr else o.learning_rate),
                place(o.weight_decay[i] if o.is_group else o.weight_decay)
                if o.exec_weight_decay and o.decay_flags[i]
                else None,
            )
            for i in range(len(parameters))
        ]
        centralize = list(o.grad_centralization_flags) if o.is_group else [False] * len(parameters)
        forms = Forms.of(parameters)
        dtypes = forms.dtypes
        known = set(dtypes) <= set(STORAGE)
        parts = []
        betas = float(o.beta1.asnumpy()), float(o.beta2.asnumpy())
        for dtype in STORAGE:
            positions = [i for i, own in enumerate(dtypes) if own == dtype]
            if positions:
                own = list(dict.fromkeys(kinds[i] for i in positions))
                scalars = kernel.Scalars(
                    self._numerics_of_float64 if dtype == mindspore.float64 else self._numerics,
                    STORAGE[dtype].own,
                    beta1=betas[0],
                    beta2=betas[1],
                    epsilon=float(o.eps.asnumpy()),
                    nesterov=o.use_nesterov,
                )
                parts.append(_Part(positions, own, scalars, self._batch(forms, kinds, positions, own)))
        return _Layout(
            origin=origin,
            local=context.get_context("device_target") == "CPU" and known,
            forms=forms,
            written=written,
            kinds=kinds,
            centralize=centralize,
            simple=known
            and not any(centralize)
            and not o.use_offload
            and all(STORAGE[d].raw == STORAGE[d].arithmetic for d in dtypes),
            sources=Sources(sources),
            parts=parts,
            betas=betas,
            reciprocal=float(o.reciprocal_scale.asnumpy()),
        )

    @staticmethod
    def _is_plain(layout: _Layout, gradients: Any) -> bool:
        """Whether the gradients need no conversion; compares whole lists, which is fast."""
        try:
            return isinstance(gradients, (tuple, list)) and layout.forms.fit(gradients) and contiguous(gradients)
        except (AttributeError, TypeError):  # what is no Tensor has none of this
            return False

    def _prepared(self, layout: _Layout, i: int, parameter: Any, gradient: Any, numbers: Sequence[float]) -> Any:
        """A gradient after all stages before the update: a Tensor of the Parameter's dtype, or Rows."""
        o, place = self._optimizer, layout.kinds[i].decay
        decay = Tensor(numbers[place], mindspore.float32) if place is not None else None
        reciprocal = o.reciprocal_scale if o.need_scale else None
        rows = dense.rows_of(gradient)
        if rows is None:
            return dense.prepared(
                gradient, parameter, decay, reciprocal, self._dialect.stages, centralize=layout.centralize[i]
            )
        chosen = ops.gather(parameter, rows.indices, 0)
        values = dense.prepared(
            rows.values, chosen, decay, reciprocal, self._dialect.stages, centralize=layout.centralize[i]
        )
        rows = Rows(rows.indices, values)
        if o._rows_become_dense[i]:
            return dense.densified(rows, parameter.shape)
        return rows

    def _has_operator(self, layout: _Layout, i: int, gradient: Any) -> bool:
        """Whether nn.Adam's own operator makes this update, because it rounds unlike the kernel."""
        return isinstance(gradient, Rows) or (
            self._optimizer.use_offload and layout.forms.dtypes[i] == mindspore.float32
        )

    @staticmethod
    def _read(parts: Sequence[_Part], gradients: Sequence[Any]) -> list[Any]:
        """Look up where gradients lie; those that lie in memory that is written are copied.

        Returns:
            The copies, which must live until the update is done.
        """
        copies = []
        for part in parts:
            chosen = gradients if len(part.positions) == len(gradients) else [gradients[i] for i in part.positions]
            found = addresses(chosen)
            if part.batch.reads_from(found):
                continue
            if not found.all():
                found = addresses([gradient.init_data() if gradient.has_init else gradient for gradient in chosen])
            overlapping = part.batch.read_from(found)
            if overlapping.size:
                copied = [chosen[i].copy() for i in overlapping]
                settle()
                found[overlapping] = addresses(copied)
                part.batch.read_from(found)
                copies += copied
        return copies

    def _without(self, layout: _Layout, left_out: Sequence[int]) -> list[_Part]:
        parts = []
        for part in layout.parts:
            positions = [i for i in part.positions if i not in left_out]
            if positions:
                batch = self._batch(layout.forms, layout.kinds, positions, part.kinds)
                batch.place(layout.addresses[positions])
                parts.append(replace(part, positions=positions, batch=batch))
        return parts

    def _batch(self, forms: Forms, kinds: Sequence[_Kind], positions: Sequence[int], own: list[_Kind]) -> Batch:
        return Batch(
            self._numerics,
            forms.dtypes[positions[0]],
            [math.prod(forms.shapes[i]) for i in positions],
            [own.index(kinds[i]) for i in positions],
            amsgrad=self._optimizer.use_amsgrad,
        )

    def _program(self, layout: _Layout, kind: _Kind, numbers: Sequence[float]) -> Program:
        """The stages before the update that the kernel runs itself."""
        o, program = self._optimizer, []
        for stage in self._dialect.stages:
            if stage == "l2_decay" and kind.decay is not None:
                program.append(Instruction(ADD_DECAY, numbers[kind.decay]))
            elif stage == "unscale" and o.need_scale:
                program.append(Instruction(MULTIPLY, layout.reciprocal))
        return program

    def _by_operator(self, i: int, parameter: Any, gradient: Any, rate: float, powers: tuple[Any, Any]) -> Operation:
        """The update of one Parameter by the operator that nn.Adam uses for it."""
        o = self._optimizer
        scalars = [Tensor(float(x), mindspore.float32) for x in (*powers, rate)]
        inputs = (o.moment1[i], o.moment2[i], *scalars, o.beta1, o.beta2, o.eps)
        # Results are noted by a call of C, so that nothing comes between an operator and its note.
        results: dict[str, Any] = {}

        def update() -> None:
            if isinstance(gradient, Rows):
                if "rows" not in results:
                    results.setdefault("rows", o.sparse_opt(parameter, *inputs, gradient.values, gradient.indices))
            else:
                if "delta" not in results:
                    results.setdefault("delta", o.opt(*inputs, gradient))
                if "sum" not in results:
                    results.setdefault("sum", ops.assign_add(parameter, results["delta"]))
            settle()

        return update


def _check_state(layout: _Layout) -> None:
    """Refuse state that does not fit its Parameter: the kernel writes wherever an address says.

    Raises:
        ValueError: a moment has another shape or dtype than its Parameter, or something has no memory.
    """
    parameters, counters = layout.written[: len(layout.forms.shapes)], layout.written[-len(_COUNTERS) :]
    for parameter, tensor in zip(itertools.cycle(parameters), layout.written[: -len(_COUNTERS)], strict=False):
        if tensor.shape != parameter.shape or tensor.dtype != parameter.dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but {parameter.name!r} has "
                f"{parameter.shape} and {parameter.dtype}; load state of the same network, or make a new optimizer"
            )
    for tensor, dtype in zip(counters, _COUNTERS.values(), strict=True):
        if tensor.size != 1 or tensor.asnumpy().dtype != dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but one value of dtype "
                f"{np.dtype(dtype)} is needed; load state of an Adam, or make a new optimizer"
            )
    for tensor in layout.written:
        if tensor.size and not tensor.data_ptr():
            raise ValueError(f"{tensor.name!r} holds no values yet; call its init_data() before the first step")


def _straighten(tensors: Sequence[Any]) -> None:
    """Give those with another layout than C's that layout."""
    for tensor in tensors:
        if not tensor.is_contiguous():
            tensor.set_data(tensor.contiguous())
    settle()
