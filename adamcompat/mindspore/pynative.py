"""Make one step in PYNATIVE mode: the shared kernel, on the memory of the Parameters themselves.

The original runs its step as a compiled graph that keeps the buffers and attributes it saw first; a Parameter
that is loaded later gets another buffer, and training stops without a word. Here every step asks anew where
everything lies that it writes. What it only reads, such as the learning rate, stays what it was at first, as
in the original, unless corrections are wanted; where something that is written was loaded, the original would
stand still, and all is looked at anew, as if it had compiled its graph again.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import mindspore
from mindspore import Tensor, context, ops

from adamcompat import kernel
from adamcompat.hyperparameters import Hyperparameters, neutral_values
from adamcompat.interpreter import StepNumbers
from adamcompat.interrupts import Uninterrupted
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore import gradients as dense
from adamcompat.mindspore.batch import STORAGE, Batch, Listed
from adamcompat.mindspore.gradients import Refusals, Rows
from adamcompat.mindspore.layout import Attributes, Kind, Layout, Part, check_state, read, same, straighten
from adamcompat.mindspore.memory import Forms, addresses, contiguous, settle
from adamcompat.mindspore.notes import say_left_out
from adamcompat.mindspore.schedules import Constants, Sources
from adamcompat.program import Stages, compile_step
from adamcompat.whole import Operation, whole


class PyNativeStep:
    """Make the steps of one optimizer.

    Args:
        optimizer: a drop-in of this package.
        dialect: the facts of its original.
        attributes: what its step reads and writes.
        refusals: what its original refuses as gradients.

    Attributes:
        program: the compiled step.
        amsgrad: whether the optimizer was asked for AMSGrad.
        nesterov: whether it was asked for Nesterov's form.
    """

    def __init__(self, optimizer: Any, dialect: Dialect, attributes: Attributes, refusals: Refusals) -> None:
        self._optimizer = optimizer
        self._dialect = dialect
        self._attributes = attributes
        self._refusals = refusals
        self._live: bool = optimizer.corrections
        self._numerics: Numerics = MAPPING.numerics[dialect.numerics]
        # The optimizer's attributes are the hyperparameters of its original.
        neutral = Hyperparameters(neutral_values(), {}, {})
        self.program = compile_step(dialect, self._numerics, neutral, held=("loss_scale",))
        self.amsgrad, self.nesterov = self._asks("amsgrad"), self._asks("nesterov")
        self._offload = self._asks("offload")
        self._counted = len(attributes.counters)
        maximum = ("vhat",) if self.amsgrad else ()
        self._origin = operator.attrgetter(
            *attributes.counters, *attributes.numbers, "parameters", *attributes.moments, *maximum
        )
        # The original compiles a graph for each set of dtypes that gradients have; None stands for the Parameters' own.
        self._layouts: dict[tuple[Any, ...] | None, Layout] = {}
        # Of the Parameters, and whether they can be updated here; None until that is asked.
        self._forms = Forms([], [])
        self._local: bool | None = None

    def _asks(self, canonical: str) -> bool:
        """Return whether the optimizer was asked for something that its original has."""
        fact = self._dialect.named(canonical)
        return fact is not None and bool(getattr(self._optimizer, fact.name))

    def ready(self) -> bool:
        """Return whether every Parameter is a plain Tensor of a known dtype in the memory of this process."""
        if self._local is None:
            self._look()
        return bool(self._local)

    def _look(self) -> None:
        self._forms = Forms.of(self._optimizer.parameters)
        self._local = self._is_local(self._forms)

    def __call__(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient for each Parameter.

        Returns:
            One True for each Parameter.

        Raises:
            TypeError, ValueError: a gradient does not fit; nothing has changed.
            RuntimeError: a list of learning rates is too short; nothing has changed.
        """
        o = self._optimizer
        # Asking for an address waits too, in the versions that were tried, but does not promise it.
        settle()
        parameters, forms = o.parameters, self._forms
        plain = self._is_plain(forms, gradients)
        layout = self._located(None if plain else self._signature(forms, gradients))
        if layout.forms is not forms:
            plain = self._is_plain(layout.forms, gradients)
        if not plain:
            numbers_fit = [self._refusals.converts or kind.decay is not None for kind in layout.kinds]
            dense.check(gradients, parameters, self._dialect, self._refusals, numbers_fit)
        step, *powers = layout.counters
        numbers = layout.sources.at(step.value + self.program.rate.start)
        advanced = None
        if powers:
            power1, power2 = powers
            advanced = kernel.advance_powers(layout.values[0], layout.values[1], (power1.value, power2.value))
        parts, by_operator = layout.parts, []
        prepared = not (plain and layout.simple)
        if prepared:
            gradients = [
                self._prepared(layout, i, p, g, numbers)
                for i, (p, g) in enumerate(zip(parameters, gradients, strict=True))
            ]
            by_operator = [i for i, g in enumerate(gradients) if isinstance(g, Rows)]
            settle()
            if by_operator:
                parts = self._without(layout, by_operator)
        copies = read(parts, gradients)
        # Operators first: one that fails has written nothing.
        operations = [
            self._by_operator(i, parameters[i], gradients[i], numbers[layout.kinds[i].rate], advanced)
            for i in by_operator
        ]
        operations += [
            part.batch.update(
                [
                    part.scalars.at(numbers[kind.rate], powers=advanced, decay=self._added(kind, numbers))
                    for kind in part.kinds
                ],
                [() if prepared else self._stages(layout, kind, numbers) for kind in part.kinds],
            )
            for part in parts
        ]
        count = step.value + 1

        def finish() -> None:
            for power, value in zip(powers, advanced or (), strict=True):
                power.value = value
            step.value = count

        with Uninterrupted():
            whole([*operations, finish])
        layout.stepped = True
        del copies
        return (True,) * len(parameters)

    def _added(self, kind: Kind, numbers: Sequence[float]) -> float | None:
        """Return the decay that is added to the update; None where the program adds none there."""
        if not self.program.update.decays:
            return None
        return 0.0 if kind.decay is None else numbers[kind.decay]

    def failed(self) -> bool:
        """Take note that a step failed; return whether none was made yet, so that the original would have no graph."""
        self._layouts = {key: layout for key, layout in self._layouts.items() if layout.stepped}
        return not self._layouts

    def _signature(self, forms: Forms, gradients: Any) -> tuple[Any, ...] | None:
        """Return a key that differs where the original would run gradients with another graph."""
        if self._live or not isinstance(gradients, (tuple, list)):
            return None
        found = tuple(getattr(gradient, "dtype", None) for gradient in gradients)
        return None if list(found) == forms.dtypes else found

    def _current(self, key: tuple[Any, ...] | None) -> Layout:
        """Return the layout; made anew where what is written, or with corrections what is read, has been replaced."""
        layout, origin = self._layouts.get(key), self._origin(self._optimizer)
        if layout is not None and not any(map(operator.is_not, layout.origin, origin)):
            return layout
        counters, state = origin[: self._counted], origin[self._counted + len(self._attributes.numbers) :]
        written = (*itertools.chain(*state), *counters)
        if layout is None or self._live or any(map(operator.is_not, layout.written, written)):
            layout = self._layouts[key] = self._laid_out(origin, written)
        else:
            if not all(map(same, layout.origin, origin)):
                self._stale()
                layout.outdated = True
            layout.origin = origin
        return layout

    def _stale(self) -> None:
        say_left_out(self._dialect, "live_values")

    def _anew(self, key: tuple[Any, ...] | None) -> Layout:
        del self._layouts[key]
        return self._current(key)

    def _located(self, key: tuple[Any, ...] | None) -> Layout:
        """Return the current layout, with the present addresses of everything that is written.

        Raises:
            TypeError: Parameters cannot be updated here any more.
            ValueError: the state does not fit.
        """
        layout = self._current(key)
        now = layout.constants.now()
        if now != layout.values or (self._live and layout.constants.moved()):
            # The reciprocal of a loss scale is folded into the graph of the original.
            seen = slice(-1 if self._attributes.scales else None)
            if self._live or now[seen] != layout.values[seen]:
                layout = self._anew(key)
            else:
                self._stale()
        found = addresses(layout.written)
        if found.tobytes() == layout.found:
            return layout
        # Since the last step something was loaded, which may have another shape or dtype, or lie crosswise.
        if not layout.forms.fit(self._optimizer.parameters):
            self._look()
            if not self._local:
                # It has been decided by now who makes the step.
                raise TypeError(
                    f"Parameters became {set(map(str, self._forms.dtypes))} after the first step; make a new optimizer"
                )
            layout = self._anew(key)
        elif layout.outdated:
            layout = self._anew(key)
        elif layout.found:
            layout.sources.renew()
        kinds = list(self._attributes.counters.values())
        check_state(layout, kinds)
        if not contiguous(layout.written):
            straighten(layout.written)
            found = addresses(layout.written)
        layout.addresses = found[: -len(kinds)].reshape(-1, len(layout.forms.shapes)).T
        layout.counters = [
            kind.from_address(address) for address, kind in zip(found[-len(kinds) :].tolist(), kinds, strict=True)
        ]
        for part in layout.parts:
            part.batch.place(layout.addresses[part.positions])
        layout.found = found.tobytes()
        return layout

    def _laid_out(self, origin: tuple[Any, ...], written: tuple[Any, ...]) -> Layout:
        o, parameters, forms = self._optimizer, self._optimizer.parameters, self._forms
        sources, kinds = self.kinds()
        can = "centralize" in self._dialect.stages
        centralize = [can and o._centralizes(i) for i in range(len(parameters))]
        dtypes = forms.dtypes
        parts = []
        constants = Constants([getattr(o, name) for name in self._attributes.constants])
        values = constants.now()
        for dtype in STORAGE:
            positions = [i for i, own in enumerate(dtypes) if own == dtype]
            if positions:
                own = list(dict.fromkeys(kinds[i] for i in positions))
                scalars = self.scalars(dtype, values)
                parts.append(Part(positions, own, scalars, self.batch(forms, kinds, positions, own)))
        return Layout(
            origin,
            forms,
            written,
            kinds=kinds,
            centralize=centralize,
            simple=not any(centralize) and all(STORAGE[d].raw == STORAGE[d].arithmetic for d in dtypes),
            sources=Sources(sources, self._live, not self.program.update.decays, self._stale),
            parts=parts,
            constants=constants,
            values=values,
            scaled=Tensor(values[-1], mindspore.float32) if self._attributes.scales and o.need_scale else None,
        )

    def kinds(self) -> tuple[list[Any], list[Kind]]:
        """Return where the numbers of a step come from, and the kind of each Parameter, which names two of them."""
        o = self._optimizer
        sources: list[Any] = []
        places: dict[int, int] = {}

        def place(source: Any) -> int:
            if id(source) not in places:
                places[id(source)] = len(sources)
                sources.append(source)
            return places[id(source)]

        kinds = [
            Kind(
                place(o.learning_rate[i] if o.is_group_lr else o.learning_rate),
                place(o.weight_decay[i] if o.is_group else o.weight_decay)
                if o.decay_flags[i] and (o.exec_weight_decay or self.program.update.decays)
                else None,
            )
            for i in range(len(o.parameters))
        ]
        return sources, kinds

    def scalars(self, dtype: Any, constants: Sequence[float]) -> kernel.Scalars:
        """Return the scalars of all steps for Parameters of a dtype.

        Args:
            dtype: a key of STORAGE.
            constants: both betas and epsilon, first of all.
        """
        return kernel.Scalars(
            self._numerics_of(dtype),
            STORAGE[dtype].own,
            beta1=constants[0],
            beta2=constants[1],
            epsilon=constants[2],
            nesterov=self.nesterov and not self.amsgrad,
            form=self.program.update.form,
        )

    def _numerics_of(self, dtype: Any) -> Numerics:
        """Return the numerics for one dtype.

        The original rounds every scalar to float32; an operator for float64 goes on in float64 from there. For bfloat16
        there is none, and the update is float32's.
        """
        if dtype == mindspore.float64:
            return replace(self._numerics, scalars="float64")
        return replace(self._numerics, half="float32") if dtype == mindspore.bfloat16 else self._numerics

    def _is_local(self, forms: Forms) -> bool:
        """Return whether everything is what the original makes, of known dtypes, in the memory of this process."""
        o = self._optimizer
        constants = [getattr(o, name) for name in self._attributes.constants]
        return (
            context.get_context("device_target") == "CPU"
            # Its operator for that shares out a tensor as it finds fast, which its bits depend on.
            and not self._offload
            and all(dtype in STORAGE and self._is_updated(dtype) for dtype in set(forms.dtypes))
            and all(isinstance(c, Tensor) and c.dtype == mindspore.float32 and c.size == 1 for c in constants)
        )

    def _is_updated(self, dtype: Any) -> bool:
        """Return whether Parameters of a dtype are updated here; an operator may have another arithmetic."""
        storage = STORAGE[dtype]
        if kernel.arithmetic_dtype(self._numerics_of(dtype), storage.own) != storage.arithmetic:
            return False
        return dtype not in self._optimizer._operators_only

    @staticmethod
    def _is_plain(forms: Forms, gradients: Any) -> bool:
        """Return whether the gradients need no conversion; compares whole lists, which is fast."""
        try:
            return isinstance(gradients, (tuple, list)) and forms.fit(gradients) and contiguous(gradients)
        except (AttributeError, TypeError):  # what is no Tensor has none of this
            return False

    def _prepared(self, layout: Layout, i: int, parameter: Any, gradient: Any, numbers: Sequence[float]) -> Any:
        """Return a gradient after all stages before the update: a Tensor of the Parameter's dtype, or Rows.

        Args:
            layout: the layout of all Parameters.
            i: the place of the Parameter.
            parameter: the Parameter.
            gradient: as it was given, and checked.
            numbers: of the step, in the order of the layout's sources.
        """
        o, place = self._optimizer, layout.kinds[i].decay
        stage = place is not None and not self.program.update.decays
        decay = Tensor(numbers[place], mindspore.float32) if place is not None and stage else None
        rows = dense.rows_of(gradient)
        values, own = (gradient, parameter) if rows is None else (rows.values, ops.gather(parameter, rows.indices, 0))
        values = dense.prepared(
            values,
            own,
            decay,
            layout.scaled,
            self.program.stages,
            centralize=layout.centralize[i],
            leave_integers=self._leaves_integers,
        )
        if rows is None:
            return values
        rows = Rows(rows.indices, values)
        return dense.densified(rows, parameter.shape) if o._dense_for_fused[i] else rows

    def _leaves_integers(self, shows: bool) -> bool:
        """Return whether integer gradients are unscaled as the original does it."""
        if shows and not self._live:
            say_left_out(self._dialect, "integer_gradients")
        return not self._live

    def _without(self, layout: Layout, left_out: Sequence[int]) -> list[Part]:
        parts = []
        for part in layout.parts:
            positions = [i for i in part.positions if i not in left_out]
            if positions:
                batch = self.batch(layout.forms, layout.kinds, positions, part.kinds)
                batch.place(layout.addresses[positions])
                parts.append(replace(part, positions=positions, batch=batch))
        return parts

    def batch(self, forms: Forms, kinds: Sequence[Kind], positions: Sequence[int], own: list[Kind]) -> Batch:
        """Return what updates some Parameters of one dtype.

        Args:
            forms: of all Parameters.
            kinds: of all Parameters.
            positions: the places of some.
            own: the kinds that there are among these.
        """
        return Batch(
            self._numerics_of(forms.dtypes[positions[0]]),
            forms.dtypes[positions[0]],
            [math.prod(forms.shapes[i]) for i in positions],
            [own.index(kinds[i]) for i in positions],
            amsgrad=self.amsgrad,
        )

    def _stages(self, layout: Layout, kind: Kind, numbers: Sequence[float]) -> Stages:
        """Return the stages before the update that the kernel runs itself."""
        decay = None if kind.decay is None else numbers[kind.decay]
        scale = None if layout.scaled is None else layout.values[-1]
        (found,) = Listed(StepNumbers(decay=decay, reciprocal_scale=scale)).run(self.program.stages, [()])
        return cast(Stages, found)

    def _by_operator(self, i: int, parameter: Any, rows: Rows, rate: float, powers: Any) -> Operation:
        """Return the update of one Parameter by the operator that nn.Adam uses for rows."""
        o = self._optimizer
        scalars = [Tensor(float(x), mindspore.float32) for x in (*powers, rate)]
        inputs = (o.moment1[i], o.moment2[i], *scalars, o.beta1, o.beta2, o.eps)
        # The result is noted by a call of C, so that nothing comes between the operator and its note.
        results: dict[str, Any] = {}

        def update() -> None:
            if "rows" not in results:
                results.setdefault("rows", o.sparse_opt(parameter, *inputs, rows.values, rows.indices))
            settle()

        return update
