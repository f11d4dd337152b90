"""Make one step of an optimizer whose groups hold every setting: the shared kernel, on the Parameters' own memory.

Such are the classes of mindspore.experimental.optim and mindspore.mint.optim, and those in PyTorch's style. Every step
asks anew for the settings, and where everything lies.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import mindspore
from mindspore import context

from adamcompat import kernel
from adamcompat.hyperparameters import Hyperparameters, resolve, unchanging
from adamcompat.interpreter import StepNumbers
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.model import Adapter, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.batch import STORAGE, Batch, Listed
from adamcompat.mindspore.gradients import Refusals
from adamcompat.mindspore.layout import check_state, read, straighten
from adamcompat.mindspore.memory import Forms, addresses, contiguous, settle
from adamcompat.program import Program, Stages, compile_step
from adamcompat.schedules import Schedule
from adamcompat.whole import whole

# How the counter of steps may lie in memory.
_COUNTERS: dict[Any, Any] = {mindspore.int32: ctypes.c_int32, mindspore.float32: ctypes.c_float}
# From the betas and the number of a step to their powers.
Powers = Callable[[float, float, int], tuple[Any, Any]]


class Grouped(Protocol):
    """Name what a step reads and writes of an optimizer with such groups."""

    parameters: Sequence[Any]
    param_groups: list[dict[str, Any]]
    group_start_id: list[int]
    exp_avg: Sequence[Any]
    exp_avg_sq: Sequence[Any]
    state_step: Any

    def _maxima(self) -> Sequence[Any]:
        """Return the maximum of each second moment, or None for a Parameter that has none."""

    def _rate(self, group: int) -> float:
        """Return the learning rate of a group in this step."""

    def _settings(self, group: int) -> dict[str, Any]:
        """Return the settings of a group under the dialect's names, without the learning rate."""


@dataclass(slots=True, eq=False)
class Setting:
    """Hold the program of a step, compiled from a group's settings.

    Attributes:
        given: the settings, under the dialect's names.
        hyper: the same under canonical names.
        program: the compiled step.
        decay: the L2 decay, or None.
        scalars: of each dtype that was asked for.
    """

    given: dict[str, Any]
    hyper: Hyperparameters
    program: Program
    decay: float | None
    scalars: dict[Any, kernel.Scalars] = field(default_factory=dict)


def setting(given: dict[str, Any], adapter: Adapter, numerics: Numerics) -> Setting:
    """Return the program of a step, compiled from a group's settings.

    Args:
        given: the settings, under the dialect's names; the learning rate is a number of each step.
        adapter: the class that has them.
        numerics: how to round.

    Returns:
        The settings, with the program and the decay that follow from them.

    Raises:
        The dialect's exceptions for wrong values.
    """
    hyper = resolve(adapter, given, {})
    # A decay is a number here, never a schedule.
    plain = {name: _plain(name, value) for name, value in hyper.values.items()}
    hyper = replace(hyper, values=plain)
    program = compile_step(MAPPING.dialects[adapter.dialect], numerics, hyper)
    return Setting(given, hyper, program, plain["l2_weight_decay"] or None)


def _plain(name: str, value: Any) -> Any:
    return value.at(0) if isinstance(value, Schedule) and name != "learning_rate" else value


@dataclass(slots=True)
class _Part:
    """Parameters of one dtype, with AMSGrad or without.

    Attributes:
        positions: the places of the Parameters.
        groups: the groups that they are of; a Parameter's kind is the place of its group here.
        batch: makes their updates.
    """

    positions: list[int]
    groups: list[int]
    batch: Batch


@dataclass(slots=True)
class _Layout:
    """Hold what stays the same while the same Parameters are updated step after step.

    Attributes:
        forms: shapes and dtypes of the Parameters.
        written: everything that is written, column by column; the counter is last.
        amsgrad: whether each group keeps the maximum of its second moments.
        parts: the Parameters, by dtype and AMSGrad.
        found: the addresses that the parts know.
        counter: the counter of steps, in its memory.
    """

    forms: Forms
    written: tuple[Any, ...]
    amsgrad: list[bool]
    parts: list[_Part]
    found: bytes = b""
    counter: Any = None


class GroupedStep:
    """Make the steps of one optimizer in PYNATIVE mode.

    Args:
        optimizer: with groups that hold every setting.
        adapter: the class that it is.
        numerics: how to round.
        refusals: what its original refuses as gradients.
        dtypes: of the Parameters that are updated here; a step of others is made in another way.
        powers: takes the betas and the number of a step, and returns their powers; None stands for the kernel's own.

    Attributes:
        numerics: how to round.
    """

    def __init__(
        self,
        optimizer: Grouped,
        adapter: Adapter,
        numerics: Numerics,
        refusals: Refusals,
        *,
        dtypes: Collection[Any],
        powers: Powers | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._adapter = adapter
        self._dialect = MAPPING.dialects[adapter.dialect]
        self.numerics = numerics
        self._refusals = refusals
        self._dtypes = dtypes
        self._powers = powers
        # The counter of a new optimizer need not be 0.
        self._before = int(optimizer.state_step.asnumpy().reshape(-1)[0])
        self._known: list[Setting] = []
        self._layout: _Layout | None = None

    @property
    def before(self) -> int:
        """Return where the counter of steps began."""
        return self._before

    def ready(self) -> bool:
        """Return whether every Parameter is a plain Tensor of such a dtype in the memory of this process."""
        layout, parameters = self._layout, self._optimizer.parameters
        return bool(context.get_context("device_target") == "CPU") and (
            (layout is not None and layout.forms.fit(parameters))
            or all(parameter.dtype in self._dtypes and self._is_updated(parameter.dtype) for parameter in parameters)
        )

    def _is_updated(self, dtype: Any) -> bool:
        """Return whether the kernel's arithmetic for a dtype is the one that the numerics ask for."""
        storage, numerics = STORAGE[dtype], self._numerics_of(dtype)
        if kernel.arithmetic_dtype(numerics, storage.own) != storage.arithmetic:
            return False
        return storage.raw == storage.arithmetic or numerics.surroundings == "once"

    def _numerics_of(self, dtype: Any) -> Numerics:
        return replace(self.numerics, half="float32") if dtype == mindspore.bfloat16 else self.numerics

    def settings(self) -> list[Setting]:
        """Return the settings of all groups with their programs, compiled anew where settings have changed.

        Raises:
            The dialect's exceptions for wrong values.
        """
        found = []
        for number in range(len(self._optimizer.param_groups)):
            given = unchanging(self._optimizer._settings(number))
            known = self._known[number] if number < len(self._known) else None
            same = known is not None and known.given == given
            found.append(known if same and known is not None else setting(given, self._adapter, self.numerics))
        self._known = found
        return found

    def __call__(self, gradients: Any) -> None:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient for each Parameter.

        Raises:
            The dialect's exceptions for gradients that do not fit and for wrong settings. Nothing has changed then.
        """
        o = self._optimizer
        # Asking for an address waits too, in the versions that were tried, but does not promise it.
        settle()
        gradients = self._fitting(gradients)
        settings = self.settings()
        layout = self._located([bool(item.program.update.amsgrad) for item in settings])
        count = layout.counter.value + 1
        step = int(count) - self._before
        rates = [o._rate(number) for number in range(len(settings))]
        copies = read(layout.parts, gradients)
        operations = [
            part.batch.update(
                [self._coefficients(layout, part, settings[group], rates[group], step) for group in part.groups],
                [_stages(settings[group], rates[group]) for group in part.groups],
            )
            for part in layout.parts
        ]

        def finish() -> None:
            layout.counter.value = count

        with Uninterrupted():
            whole([*operations, finish])
        del copies

    def _coefficients(self, layout: _Layout, part: _Part, own: Setting, rate: float, step: int) -> kernel.Coefficients:
        dtype, update = layout.forms.dtypes[part.positions[0]], own.program.update
        if dtype not in own.scalars:
            own.scalars[dtype] = kernel.Scalars(
                self._numerics_of(dtype),
                STORAGE[dtype].own,
                beta1=update.beta1,
                beta2=update.beta2,
                epsilon=update.epsilon,
                nesterov=False,
                form=update.form,
            )
        powers = None if self._powers is None else self._powers(update.beta1, update.beta2, step)
        return own.scalars[dtype].at(rate, step=step, powers=powers)

    def _fitting(self, gradients: Any) -> Any:
        """Return the gradients as contiguous Tensors of their Parameters' dtypes."""
        parameters = self._optimizer.parameters
        try:
            forms = Forms.of(parameters)
            if isinstance(gradients, (tuple, list)) and forms.fit(gradients) and contiguous(gradients):
                return gradients
        except (AttributeError, TypeError):  # one is no Tensor
            pass
        dense.check(gradients, parameters, self._dialect, self._refusals, [False] * len(parameters))
        found = []
        for gradient, parameter in zip(gradients, parameters, strict=True):
            rows = dense.rows_of(gradient)
            whole_of = gradient if rows is None else dense.densified(rows, parameter.shape)
            found.append(whole_of.astype(parameter.dtype).contiguous())
        settle()
        return found

    def _located(self, amsgrad: list[bool]) -> _Layout:
        """Return the layout, with the present addresses of everything that is written.

        Raises:
            ValueError: the state does not fit.
        """
        o, layout = self._optimizer, self._layout
        parameters, maxima = o.parameters, o._maxima()
        stand_ins = [o.exp_avg_sq[i] if one is None else one for i, one in enumerate(maxima)]
        written = (*parameters, *o.exp_avg, *o.exp_avg_sq, *stand_ins, o.state_step)
        if layout is None or layout.amsgrad != amsgrad or not layout.forms.fit(parameters):
            layout = self._laid_out(written, amsgrad)
        layout.written = written
        found = addresses(written)
        if found.tobytes() == layout.found:
            return layout
        kind = _COUNTERS.get(o.state_step.dtype, ctypes.c_int32)
        check_state(layout, [kind])
        if not contiguous(written):
            straighten(written)
            found = addresses(written)
        columns = found[:-1].reshape(-1, len(parameters)).T
        layout.counter = kind.from_address(int(found[-1]))
        for part in layout.parts:
            chosen = columns[part.positions]
            part.batch.place(chosen if part.batch.amsgrad else chosen[:, :-1])
        layout.found = found.tobytes()
        self._layout = layout
        return layout

    def _laid_out(self, written: tuple[Any, ...], amsgrad: list[bool]) -> _Layout:
        o = self._optimizer
        forms = Forms.of(o.parameters)
        starts = o.group_start_id
        group = [number for number, (a, b) in enumerate(itertools.pairwise(starts)) for _ in range(a, b)]
        parts = []
        for dtype, flag in itertools.product(STORAGE, (False, True)):
            positions = [i for i, own in enumerate(forms.dtypes) if own == dtype and amsgrad[group[i]] == flag]
            if positions:
                groups = list(dict.fromkeys(group[i] for i in positions))
                batch = Batch(
                    self._numerics_of(dtype),
                    dtype,
                    [math.prod(forms.shapes[i]) for i in positions],
                    [groups.index(group[i]) for i in positions],
                    amsgrad=flag,
                )
                parts.append(_Part(positions, groups, batch))
        return _Layout(forms, written, amsgrad, parts)


def _stages(own: Setting, rate: float) -> Stages:
    """Return the stages before the update, with their numbers of this step."""
    (found,) = Listed(StepNumbers(rate=rate, decay=own.decay)).run(own.program.stages, [()])
    return cast(Stages, found)
