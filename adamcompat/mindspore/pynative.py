"""One step in PYNATIVE mode: the shared kernel, on the memory of the Parameters themselves.

nn.Adam runs its step as a compiled graph that keeps the buffers it saw first; a Parameter that is
loaded later gets another buffer, and training stops without a word. Here every step asks anew where
everything lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, context, ops

from adamcompat import kernel
from adamcompat.executors.columns import GRADIENT
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.batch import STORAGE, Batch
from adamcompat.mindspore.gradients import Rows
from adamcompat.mindspore.memory import settle, view
from adamcompat.mindspore.schedules import Sources
from adamcompat.stages import ADD_DECAY, MULTIPLY, Instruction, Program

_PLAIN = {Tensor, Parameter}


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
    batch: Batch


@dataclass(slots=True)
class _Layout:
    """What stays the same while the same Parameters are updated step after step."""

    origin: tuple[Any, ...]
    local: bool
    dtypes: list[Any]
    shapes: list[tuple[int, ...]]
    kinds: list[_Kind]
    centralize: list[bool]
    simple: bool
    sources: Sources
    parts: list[_Part]
    betas: tuple[float, float]
    epsilon: float
    reciprocal: float


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
        layout = self._current()
        parameters = o.parameters
        if not layout.local:
            # Cell.__call__ has decided by now who makes the step.
            raise TypeError(
                f"Parameters became {set(map(str, layout.dtypes))} after the first step; make a new optimizer"
            )
        plain = self._is_plain(layout, gradients)
        if not plain:
            dense.check(gradients, parameters, self._dialect)
        settle()
        step = view(o.global_step.data_ptr(), 1, np.int32)
        numbers = layout.sources.at(int(step[0]) + self._dialect.semantics.schedule_start)
        powers = [view(power.data_ptr(), 1, np.float32) for power in (o.beta1_power, o.beta2_power)]
        advanced = kernel.advance_powers(*layout.betas, (powers[0][0], powers[1][0]))
        prepared = not (plain and layout.simple)
        by_operator: list[int] = []
        if prepared:
            gradients = [
                self._prepared(layout, i, p, g, numbers)
                for i, (p, g) in enumerate(zip(parameters, gradients, strict=True))
            ]
            by_operator = [i for i, g in enumerate(gradients) if self._has_operator(layout, i, g)]
            settle()
        parts = self._without(layout, parameters, by_operator) if by_operator else layout.parts
        copies = self._locate(parts, parameters, gradients, o)
        with Uninterrupted():
            for part in parts:
                part.batch.run(
                    [self._coefficients(layout, kind, numbers, part, advanced) for kind in part.kinds],
                    [[] if prepared else self._program(layout, kind, numbers) for kind in part.kinds],
                )
            for i in by_operator:
                self._run_operator(i, parameters[i], gradients[i], numbers[layout.kinds[i].rate], advanced)
            powers[0][0], powers[1][0] = advanced
            step += 1
        del copies
        return (True,) * len(parameters)

    def _current(self) -> _Layout:
        o, layout = self._optimizer, self._layout
        parameters = o.parameters
        scalars = (o.beta1, o.beta2, o.eps, o.reciprocal_scale)
        origin = (o.learning_rate, o.weight_decay, o.decay_flags, o.moment1, o.use_amsgrad, *scalars)
        if (
            layout is None
            or any(a is not b for a, b in zip(layout.origin, origin, strict=True))
            or [p.shape for p in parameters] != layout.shapes
            or [p.dtype for p in parameters] != layout.dtypes
        ):
            layout = self._layout = self._laid_out(parameters, origin)
        return layout

    def _laid_out(self, parameters: Sequence[Any], origin: tuple[Any, ...]) -> _Layout:
        o = self._optimizer
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
        parts = []
        dtypes = [p.dtype for p in parameters]
        known = set(dtypes) <= set(STORAGE)
        for dtype in STORAGE:
            positions = [i for i, own in enumerate(dtypes) if own == dtype]
            if positions:
                own = list(dict.fromkeys(kinds[i] for i in positions))
                batch = Batch(
                    self._numerics,
                    dtype,
                    [parameters[i].size for i in positions],
                    [own.index(kinds[i]) for i in positions],
                    amsgrad=o.use_amsgrad,
                )
                parts.append(_Part(positions, own, batch))
        return _Layout(
            origin=origin,
            local=context.get_context("device_target") == "CPU" and known,
            dtypes=dtypes,
            shapes=[p.shape for p in parameters],
            kinds=kinds,
            centralize=centralize,
            simple=known
            and not any(centralize)
            and not o.use_offload
            and all(STORAGE[d].raw == STORAGE[d].arithmetic for d in dtypes),
            sources=Sources(sources),
            parts=parts,
            betas=(float(o.beta1.asnumpy()), float(o.beta2.asnumpy())),
            epsilon=float(o.eps.asnumpy()),
            reciprocal=float(o.reciprocal_scale.asnumpy()),
        )

    @staticmethod
    def _is_plain(layout: _Layout, gradients: Any) -> bool:
        """Whether the gradients need no conversion; compares whole lists, which is fast."""
        return (
            isinstance(gradients, (tuple, list))
            and _PLAIN.issuperset(map(type, gradients))
            and [g.shape for g in gradients] == layout.shapes
            and [g.dtype for g in gradients] == layout.dtypes
            and all(map(Tensor.is_contiguous, gradients))
        )

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
        return isinstance(gradient, Rows) or (self._optimizer.use_offload and layout.dtypes[i] == mindspore.float32)

    @staticmethod
    def _locate(parts: Sequence[_Part], parameters: Sequence[Any], gradients: Sequence[Any], o: Any) -> list[Any]:
        """Look up all addresses; gradients that lie in memory that is written are copied.

        Returns:
            The copies, which must live until the update is done.
        """
        kept = [parameters, gradients, o.moment1, o.moment2] + ([o.vhat] if o.use_amsgrad else [])
        copies = []
        for part in parts:
            whole = len(part.positions) == len(parameters)
            columns = kept if whole else [[tensors[i] for i in part.positions] for tensors in kept]
            overlapping = part.batch.locate(columns)
            if part.batch.moved:
                _check_state(columns)
            if (part.batch.moved or not all(map(Tensor.is_contiguous, columns[0]))) and _straightened(columns):
                overlapping = part.batch.locate(columns)
            for position in overlapping:
                copies.append(columns[1][position].copy())
                part.batch.relocate(int(position), copies[-1])
        if copies:
            settle()
        return copies

    def _without(self, layout: _Layout, parameters: Sequence[Any], left_out: Sequence[int]) -> list[_Part]:
        parts = []
        for part in layout.parts:
            positions = [i for i in part.positions if i not in left_out]
            if positions:
                batch = Batch(
                    self._numerics,
                    layout.dtypes[positions[0]],
                    [parameters[i].size for i in positions],
                    [part.kinds.index(layout.kinds[i]) for i in positions],
                    amsgrad=self._optimizer.use_amsgrad,
                )
                parts.append(_Part(positions, part.kinds, batch))
        return parts

    def _coefficients(
        self, layout: _Layout, kind: _Kind, numbers: Sequence[float], part: _Part, powers: tuple[Any, Any]
    ) -> kernel.Coefficients:
        o = self._optimizer
        dtype = STORAGE[layout.dtypes[part.positions[0]]].own
        return kernel.coefficients(
            self._numerics_of_float64 if dtype == np.float64 else self._numerics,
            dtype,
            learning_rate=numbers[kind.rate],
            beta1=layout.betas[0],
            beta2=layout.betas[1],
            epsilon=layout.epsilon,
            step=1,
            nesterov=o.use_nesterov,
            powers=powers,
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

    def _run_operator(self, i: int, parameter: Any, gradient: Any, rate: float, powers: tuple[Any, Any]) -> None:
        """One Parameter by the operator that nn.Adam uses for it."""
        o = self._optimizer
        scalars = [Tensor(float(x), mindspore.float32) for x in (*powers, rate)]
        inputs = (o.moment1[i], o.moment2[i], *scalars, o.beta1, o.beta2, o.eps)
        if isinstance(gradient, Rows):
            o.sparse_opt(parameter, *inputs, gradient.values, gradient.indices)
        else:
            ops.assign_add(parameter, o.opt(*inputs, gradient))
        settle()


def _check_state(columns: Sequence[Sequence[Any]]) -> None:
    """Refuse state that does not fit its Parameter: the kernel writes wherever an address says.

    Raises:
        ValueError: a moment has another shape or dtype than its Parameter.
    """
    for column, tensors in enumerate(columns):
        for parameter, tensor in zip(columns[0], tensors, strict=True):
            if column != GRADIENT and (tensor.shape != parameter.shape or tensor.dtype != parameter.dtype):
                raise ValueError(
                    f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but {parameter.name!r} has "
                    f"{parameter.shape} and {parameter.dtype}; load state of the same network, or make a new optimizer"
                )


def _straightened(columns: Sequence[Sequence[Any]]) -> bool:
    """Whether a Parameter or its state had another layout than C's; it has that now."""
    crooked = [
        tensor
        for column, tensors in enumerate(columns)
        if column != GRADIENT
        for tensor in tensors
        if not tensor.is_contiguous()
    ]
    for tensor in crooked:
        tensor.set_data(tensor.contiguous())
    return bool(crooked)
