"""MindSpore's calling convention on TensorFlow's variables: ``optimizer(gradients)``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from adamcompat.groups import Arranged, Arrangement, Group
from adamcompat.hyperparameters import FIXED_BY_STATE, Hyperparameters, exception, resolve, unknown_keyword
from adamcompat.mapping.model import Adapter, Dialect, Slot
from adamcompat.mapping.tables import MAPPING
from adamcompat.program import compile_step
from adamcompat.schedules import Schedule
from adamcompat.stages import time_decayed
from adamcompat.tensorflow import operations
from adamcompat.tensorflow.arguments import raw, refuse_session
from adamcompat.tensorflow.rounding import POWER_DTYPE, Rounding
from adamcompat.tensorflow.step import Member, Numbers, Step
from adamcompat.tensorflow.traced import Traced

if TYPE_CHECKING:
    from typing_extensions import Self

_SCHEDULES = ("LearningRateSchedule",)


class Described:
    """Parameters by name, as a configuration has them: the variables come with `build`.

    Args:
        entries: names, or groups of names.
    """

    def __init__(self, entries: Sequence[Any]) -> None:
        self.entries = list(entries)


class _Private:
    """Hold what belongs to an optimizer but not to its state: an object of its own, so that nothing tracks it."""

    def __init__(self, dialect: Dialect, hyper: Hyperparameters, given: dict[str, Any], numerics: str) -> None:
        self.numerics = MAPPING.numerics[numerics]
        self.take(dialect, hyper)
        self.given = given
        self.lock: Any = threading.RLock() if hyper["use_locking"] else None
        self.section: Any = None
        self.arranged: Arranged | None = None
        self.described: Described | None = None
        self.variables: list[Any] = []
        self.members: list[Member] = []
        self.groups: list[Group] = []
        self.roundings: dict[Any, Rounding] = {}
        self.powers: dict[Any, tuple[Any, Any]] = {}
        self.functions: dict[Any, Any] = {}
        self.traced = Traced()

    def take(self, dialect: Dialect, hyper: Hyperparameters) -> None:
        """Compile the step for other hyperparameters."""
        self.program = compile_step(dialect, self.numerics, hyper)
        self.hyper = hyper


def _is_variable(value: Any) -> bool:
    return isinstance(raw(value), tf.Variable)


def label(variable: Any) -> str:
    """Return what a variable is called: its path in Keras, its name in TensorFlow."""
    return str(getattr(variable, "path", None) or variable.name).partition(":")[0]


def _identity(variable: Any) -> Any:
    return raw(variable)._unique_id if _is_variable(variable) else id(variable)


def _signature(gradient: Any) -> Any:
    """Return what a traced function depends on."""
    if isinstance(gradient, tf.IndexedSlices):
        return gradient.values.dtype, tuple(gradient.values.shape), gradient.indices.dtype
    return gradient.dtype, tuple(gradient.shape)


def _same_name(one: str, other: str) -> bool:
    """Return whether two paths name one variable: a model that is loaded has fewer or more folders around it."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def _is_keras_schedule(schedule: Schedule) -> bool:
    return any(kind.__name__ in _SCHEDULES for kind in type(schedule.given).__mro__)


class CallAdam:
    """Share among the adapters that are called as MindSpore's optimizers are, whichever Keras they belong to.

    A subclass adds `_new_variable`, which creates state, and calls `_start` and `_take`.
    """

    _adapter: ClassVar[str]
    _private: _Private
    _iterations: Any
    _learning_rate: Any

    if TYPE_CHECKING:

        def _new_variable(self, reference: Any, dtype: Any, name: str) -> Any:
            """A new state variable, zero; where `reference` lies, or a scalar one where that is None."""

        def _var_key(self, variable: Any) -> Any:
            """Return what tells variables apart; the same for all replicas of one."""

        def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
            """Make one step, as Keras calls it."""

    @classmethod
    def _own_adapter(cls) -> Adapter:
        return MAPPING.adapter("tensorflow", cls._adapter)

    @classmethod
    def _dialect(cls) -> Dialect:
        return MAPPING.dialects[cls._own_adapter().dialect]

    @classmethod
    def _error(cls, kind: str) -> type[Exception]:
        return exception(getattr(cls._dialect().errors, kind))

    @classmethod
    def _checked(cls, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> _Private:
        """The arguments of a call, validated."""
        if numerics not in MAPPING.numerics:
            raise ValueError(f"numerics must be one of {', '.join(MAPPING.numerics)}; got {numerics!r}")
        params = cls._dialect().named("parameters")
        assert params is not None
        value = given[params.name]
        given = {name: _live(item) for name, item in {**given, **extra}.items() if name != params.name}
        signature = {fact.name for fact in cls._dialect().parameters}
        hyper = resolve(
            cls._own_adapter(),
            {name: item for name, item in given.items() if name in signature},
            {name: item for name, item in given.items() if name not in signature},
        )
        private = _Private(cls._dialect(), hyper, given, numerics)
        if isinstance(value, Described):
            private.described = value
        else:
            private.arranged = cls._arranged(value)
        return private

    @classmethod
    def _arranged(cls, value: Any) -> Arranged:
        arrange = Arrangement(cls._dialect(), (tf.Variable, tf.Tensor), "variables", _identity)
        if _is_variable(value):
            raise cls._error("wrong_type")("params must be a list of variables, got one variable: write [variable]")
        arranged = arrange(value)
        seen: dict[Any, str] = {}
        for position, variable in enumerate(arranged.variables):
            if not _is_variable(variable):
                raise cls._error("wrong_type")(
                    f"parameter {position} must be a tf.Variable or a Keras variable, got {type(variable).__name__}"
                )
            if raw(variable).dtype not in operations.FLOATS:
                raise cls._error("wrong_type")(
                    f"parameter {label(variable)!r} is {raw(variable).dtype.name}; only float16, bfloat16, float32 "
                    f"and float64 can be updated"
                )
            if _identity(variable) in seen:
                raise cls._error("repeated_parameter")(f"parameter {label(variable)!r} is given twice; pass each once")
            seen[_identity(variable)] = label(variable)
        return arranged

    # State.

    def _take(self, arranged: Arranged) -> None:
        """Create the state for parameters."""
        private, dialect = self._private, self._dialect()
        hyper = private.hyper
        private.variables = list(arranged.variables)
        private.groups = list({id(group): group for group in arranged.groups}.values())
        places = {id(group): i for i, group in enumerate(private.groups)}
        raws = [raw(variable) for variable in private.variables]
        private.roundings = {r.dtype: Rounding(private.numerics, r.dtype, private.program.update) for r in raws}
        skips = () if arranged.grouped else dialect.semantics.decay_skips
        if hyper["use_locking"]:
            private.section = tf.CriticalSection()
        found: dict[str, list[Any]] = {}
        for block in dialect.slots:
            for slot in block:
                found[slot.role] = self._created(slot, arranged, raws)
        for role in ("beta1_power", "beta2_power", "maximum_second_moment"):
            # The numerics may need state that the dialect does not name.
            if role not in found:
                found[role] = self._created(dialect.slot(role), arranged, raws)
        if private.numerics.beta_power == "product":
            private.powers = {POWER_DTYPE: (found["beta1_power"][0], found["beta2_power"][0])}
        nothing = [None] * len(raws)
        maxima = found["maximum_second_moment"] or nothing
        private.members = [
            Member(
                *(raws[i], raw(found["first_moment"][i]), raw(found["second_moment"][i]), raw(maxima[i])),
                places[id(arranged.groups[i])],
                not any(part in label(private.variables[i]) for part in skips),
                arranged.groups[i].centralize,
            )
            for i in range(len(raws))
        ]

    def _created(self, slot: Slot, arranged: Arranged, raws: Sequence[Any]) -> list[Any]:
        """The state variables of one kind of slot."""
        private = self._private
        if slot.role in ("first_moment", "second_moment", "maximum_second_moment"):
            if slot.role == "maximum_second_moment" and not private.program.update.amsgrad:
                return []
            return [
                # bfloat16 holds too few digits for a moment to change.
                self._new_variable(
                    variable,
                    "float32" if own.dtype == tf.bfloat16 else own.dtype.name,
                    slot.name_for(label(variable).replace("/", "_")),
                )
                for variable, own in zip(arranged.variables, raws, strict=True)
            ]
        if slot.role in ("beta1_power", "beta2_power") and private.numerics.beta_power == "product":
            power = self._new_variable(None, POWER_DTYPE.name, slot.template)
            power.assign(1.0)
            return [power]
        return []

    def _describe(self, variables: Sequence[Any]) -> Arranged:
        """The parameters of a configuration, found among variables."""
        private = self._private
        assert private.described is not None
        entries = private.described.entries
        fact = next(fact for fact in self._dialect().groups if fact.canonical == "group_parameters")
        names = [name for entry in entries for name in (entry[fact.name] if isinstance(entry, dict) else [entry])]
        labels = [label(variable) for variable in variables]
        matches = [[i for i, own in enumerate(labels) if _same_name(name, own)] for name in names]
        if sorted(i for match in matches for i in match) == list(range(len(labels))) and all(map(len, matches)):
            positions = {i: variables[match[0]] for i, match in enumerate(matches)}
        elif len(names) == len(labels) and not isinstance(entries[0], dict):
            positions = dict(enumerate(variables))
        else:
            raise ValueError(
                f"this optimizer was saved for the parameters {names}, but is built with {labels}; build it with the "
                f"same ones"
            )
        if not isinstance(entries[0], dict):
            return self._arranged([positions[i] for i in range(len(names))])
        taken = iter(range(len(names)))
        return self._arranged(
            [{**entry, fact.name: [positions[next(taken)] for _ in entry[fact.name]]} for entry in entries]
        )

    # The call.

    def __call__(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step.

        Args:
            gradients: a tuple or list with one gradient (tensor or IndexedSlices) for each parameter, in
                the order in which the parameters were given.

        Returns:
            One True for each parameter, as MindSpore does.

        Raises:
            TypeError: `gradients` is no tuple or list, or holds None or no numbers.
            ValueError: their number or a shape is wrong. In either case nothing has changed.
            RuntimeError: a list of learning rates has no value for this step.
        """
        if not isinstance(gradients, (tuple, list)):
            raise self._error("wrong_type")(
                f"gradients must be a tuple with one tensor for each parameter, got {type(gradients).__name__}"
            )
        self._check_built()
        variables = self._private.variables
        if len(gradients) != len(variables):
            raise self._error("wrong_gradients")(
                f"got {len(gradients)} gradients for {len(variables)} parameters; differentiate with respect to "
                f"optimizer.parameters"
            )
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is None:
                raise self._error("wrong_type")(
                    f"the gradient of {label(variable)!r} is None; pass tf.zeros_like(variable) if it has none"
                )
        self.apply_gradients(zip(gradients, variables, strict=True))
        return (True,) * len(gradients)

    def construct(self, gradients: Any) -> tuple[bool, ...]:
        """Make one step; the same as calling the optimizer."""
        return self(gradients)

    def _check_built(self) -> None:
        if not self._private.members:
            raise ValueError(
                "this optimizer was made from a configuration and has no variables yet; call build(variables) first"
            )

    def _ordered(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Gradients as tensors or IndexedSlices, checked; None stays.

        Raises:
            TypeError, ValueError: a gradient or a variable does not fit.
        """
        refuse_session("Keras")
        self._check_built()
        known = {_identity(variable) for variable in self._private.variables}
        seen: set[Any] = set()
        for variable in variables:
            if _identity(variable) not in known:
                raise self._error("unknown_parameter")(
                    f"Unknown variable: {label(variable)!r}. The optimizer updates the parameters that it was made "
                    f"with; make a new optimizer for others"
                )
            if _identity(variable) in seen:
                raise self._error("repeated_parameter")(
                    f"variable {label(variable)!r} is given twice; add its gradients up first"
                )
            seen.add(_identity(variable))
        return [self._fitting(gradient, variable) for gradient, variable in zip(gradients, variables, strict=True)]

    def _fitting(self, gradient: Any, variable: Any) -> Any:
        if gradient is None:
            return None
        name, shape = label(variable), raw(variable).shape
        sparse = isinstance(gradient, tf.IndexedSlices)
        try:
            values = tf.convert_to_tensor(gradient.values if sparse else raw(gradient))
        except (TypeError, ValueError):
            raise self._error("wrong_type")(
                f"the gradient of {name!r} must be a tensor or IndexedSlices, got {type(gradient).__name__}"
            ) from None
        if not (values.dtype.is_floating or values.dtype.is_integer):
            raise self._error("wrong_type")(f"the gradient of {name!r} must hold real numbers, got {values.dtype.name}")
        indices = tf.convert_to_tensor(gradient.indices) if sparse else None
        wanted = shape if indices is None or not shape.rank else indices.shape[:1].concatenate(shape[1:])
        if not values.shape.is_compatible_with(wanted):
            raise self._error("wrong_gradients")(
                f"the gradient of {name!r} has shape {tuple(values.shape)}, but {tuple(wanted)} is needed"
            )
        if indices is None:
            return values
        if tf.executing_eagerly() and indices.shape[0]:
            least, most = int(tf.reduce_min(indices)), int(tf.reduce_max(indices))
            if least < 0 or most >= shape[0]:
                raise self._error("wrong_gradients")(
                    f"the gradient of {name!r} names row {least if least < 0 else most}, but rows run from 0 to "
                    f"{shape[0] - 1}"
                )
        return tf.IndexedSlices(values, indices, None)

    def _guarded(self, function: Callable[[], Any]) -> Any:
        """Call `function` as one step: under the lock, and not to be cut short by Ctrl-C."""
        private = self._private
        if tf.executing_eagerly():
            with private.lock or nullcontext():
                return private.traced.whole(raw(self._iterations), function)
        if private.section is None:
            return function()
        if operations.inside_xla():
            raise RuntimeError("use_locking=True: XLA has no locks; leave it out where a step is compiled by XLA")

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def step() -> Any:
            function()
            return tf.constant(True)

        # The lock is held until the function is done, and that until everything in it is.
        private.section.execute(step)
        return self._iterations

    def _advance(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Update `variables`; the step counter is Keras's to move."""
        private = self._private
        places = {self._var_key(variable): i for i, variable in enumerate(private.variables)}
        positions = tuple(places[self._var_key(variable)] for variable in variables)
        offload = tf.device("/CPU:0") if private.hyper["offload"] else nullcontext()
        with offload:
            if not tf.executing_eagerly():
                checks = [] if operations.inside_xla() else self._checks(gradients, positions)
                with tf.control_dependencies(checks):
                    self._update(positions, gradients, self._numbers_traced(), raw(self._iterations))
                return
            numbers = self._numbers()
            key = (positions, tuple(map(_signature, gradients)))
            known = private.functions.get(key)
            if known is None or any(getattr(variable, "constraint", None) is not None for variable in variables):
                private.traced.keep_everything(self._everything)
            if known is None:
                # Tracing takes longer than a step, and is worth it for those who make another.
                if len(private.functions) > 8:
                    private.functions.clear()
                private.functions[key] = tf.function(
                    lambda *arguments: self._update(positions, *arguments), autograph=False
                )
                self._update(positions, gradients, numbers, raw(self._iterations))
            else:
                iterations, note = tf.convert_to_tensor(raw(self._iterations)), private.traced.note()
                note(known(list(gradients), numbers, iterations))

    def _everything(self) -> list[Any]:
        """All that a step may change."""
        private = self._private
        powers = [raw(power) for pair in private.powers.values() for power in pair]
        return [one for member in private.members for one in member[:4]] + powers

    def _update(self, positions: tuple[int, ...], gradients: Sequence[Any], numbers: Any, iterations: Any) -> None:
        private = self._private
        products = {dtype: (raw(one), raw(other)) for dtype, (one, other) in private.powers.items()}
        step = Step(private.program, private.roundings, numbers, iterations, products)
        step.apply([private.members[position] for position in positions], gradients)
        for dtype, pair in products.items():
            for power, value in zip(pair, step.products[dtype], strict=True):
                power.assign(value, read_value=False)

    # The numbers of a step.

    def _numbers(self) -> list[Numbers]:
        """Return what each group's step depends on, eagerly: every value is checked before anything is written."""
        private = self._private
        iterations = raw(self._iterations)
        step = int(tf.convert_to_tensor(iterations)) + self._private.program.rate.start
        known: dict[int, Any] = {}

        def at(schedule: Schedule | None) -> Any:
            if schedule is None:
                return None
            if id(schedule) not in known:
                argument = iterations if _is_keras_schedule(schedule) else tf.constant(step, tf.float64)
                known[id(schedule)] = tf.constant(schedule.at(step, argument), tf.float64)
            return known[id(schedule)]

        shared = private.hyper.schedules["learning_rate"]
        found = []
        for group in private.groups:
            if group.learning_rate is None and shared.constant:
                rate = tf.cast(raw(self._learning_rate), tf.float64)
                if not tf.math.is_finite(rate):
                    raise ValueError(f"the learning rate is {float(rate)!r}; assign a finite number")
            else:
                rate = at(group.learning_rate or shared)
            found.append(Numbers(self._decayed(rate, step), at(self._decay_of(group))))
        return found

    def _decayed(self, rate: Any, step: Any) -> Any:
        """A learning rate after its decay over time, in float64."""
        program = self._private.program
        if not program.rate.time_decay:
            return rate
        kind = tf.float32 if program.stepwise else tf.float64
        numbers = (rate, step, tf.constant(program.rate.time_decay, tf.float64), tf.constant(1, tf.float64))
        return tf.cast(time_decayed(*(tf.cast(number, kind) for number in numbers)), tf.float64)

    def _current_rate(self) -> Any:
        """The optimizer's own learning rate for the next step, from its schedule."""
        shared = self._private.hyper.schedules["learning_rate"]
        step = raw(self._iterations) + self._private.program.rate.start
        return self._traced(shared, tf.cast(step, tf.int64))

    def _refuse_products(self) -> None:
        if self._private.powers:
            raise ValueError(
                f"numerics={self._private.numerics.name!r} keeps running products, which replicas do not share; use "
                f"other numerics under tf.distribute"
            )

    def _set_learning_rate(self, value: Any) -> None:
        """Replace the learning rate from the next step on.

        Raises:
            TypeError: a number over a schedule: there is no variable to hold it.
        """
        private, fact = self._private, self._dialect().named("learning_rate")
        assert fact is not None
        value = _live(value)
        errors = self._error("wrong_type"), self._error("out_of_range")
        if tf.is_tensor(value) and not tf.executing_eagerly():
            schedule = None
        else:
            schedule = Schedule(value, fact.name, fact.range, *errors)
        if (schedule is None or schedule.constant) != private.hyper.schedules["learning_rate"].constant:
            raise TypeError(
                f"{fact.name} was made a {'number' if schedule is not None and not schedule.constant else 'schedule'} "
                f"and can only be replaced by another; make a new optimizer"
            )
        if schedule is None or schedule.constant:
            raw(self._learning_rate).assign(tf.cast(value, tf.float64) if schedule is None else schedule.at(0))
            return
        private.hyper.schedules["learning_rate"] = private.hyper.values["learning_rate"] = schedule
        private.hyper.native[fact.name] = private.given[fact.name] = value

    def _decay_of(self, group: Group) -> Schedule | None:
        """The weight decay of a group; None where there is none."""
        schedules = self._private.hyper.schedules
        schedule = group.weight_decay or schedules.get("l2_weight_decay") or schedules.get("decoupled_weight_decay")
        return None if schedule is None or (schedule.constant and schedule.at(0) == 0) else schedule

    def _numbers_traced(self) -> list[Numbers]:
        """Return what each group's step depends on, in a graph."""
        known: dict[int, Any] = {}
        step = tf.cast(raw(self._iterations), tf.int64) + self._private.program.rate.start

        def at(schedule: Schedule | None) -> Any:
            if schedule is None:
                return None
            if id(schedule) not in known:
                known[id(schedule)] = self._traced(schedule, step)
            return known[id(schedule)]

        shared = self._private.hyper.schedules["learning_rate"]
        found = []
        for group in self._private.groups:
            if group.learning_rate is None and shared.constant:
                rate = tf.cast(raw(self._learning_rate), tf.float64)
            else:
                rate = at(group.learning_rate or shared)
            found.append(Numbers(self._decayed(rate, step), at(self._decay_of(group))))
        return found

    def _traced(self, schedule: Schedule, step: Any) -> Any:
        if schedule.constant:
            return tf.constant(schedule.at(0), tf.float64)
        if schedule.listed is not None:
            values = tf.constant(schedule.listed, tf.float64)
            found = tf.gather(values, tf.minimum(step, len(schedule.listed) - 1))
            # XLA cannot raise; NaN is at least not silent.
            return tf.where(step < len(schedule.listed), found, tf.constant(float("nan"), tf.float64))
        argument = raw(self._iterations) if _is_keras_schedule(schedule) else tf.cast(step, tf.float64)
        found = schedule.ask(argument)
        tensor = tf.convert_to_tensor(found) if tf.is_tensor(found) else tf.convert_to_tensor(found, tf.float64)
        return tf.reshape(tf.cast(tensor, tf.float64), [])

    def _checks(self, gradients: Sequence[Any], positions: Sequence[int]) -> list[Any]:
        """Assertions that must hold before a graph may write anything."""
        private = self._private
        step = tf.cast(raw(self._iterations), tf.int64) + self._private.program.rate.start
        schedules = [group.learning_rate or private.hyper.schedules["learning_rate"] for group in private.groups]
        checks = [
            tf.debugging.assert_less(
                step,
                tf.constant(length, tf.int64),
                message=f"learning_rate is a list of {length} values and has none for this step; give one value for "
                f"each step, or a callable",
            )
            for length in {len(schedule.listed) for schedule in schedules if schedule.listed is not None}
        ]
        for position, gradient in zip(positions, gradients, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                member = private.members[position]
                rows = tf.cast(gradient.indices, tf.int64)
                inside = tf.reduce_all((rows >= 0) & (rows < member.variable.shape[0]))
                message = f"the gradient of {member.variable.name!r} names a row that does not exist"
                checks.append(tf.debugging.Assert(inside, [message, gradient.indices]))
        return [check for check in checks if check is not None]

    # What is asked of an optimizer.

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The variables that are updated, in the order of their gradients."""
        return tuple(self._private.variables)

    @property
    def global_step(self) -> Any:
        """Number of steps so far, as a variable."""
        return self._iterations

    def get_lr(self) -> Any:
        """The learning rate of the next step; one for each parameter if a group has its own."""
        return self._each([group.learning_rate for group in self._private.groups], "rate")

    def get_weight_decay(self) -> Any:
        """The weight decay of the next step; one for each parameter if a group has its own."""
        return self._each([group.weight_decay for group in self._private.groups], "decay")

    def _each(self, own: Sequence[Any], what: str) -> Any:
        numbers = self._numbers() if tf.executing_eagerly() else self._numbers_traced()
        values = [getattr(number, what) for number in numbers]
        values = [tf.constant(0.0, tf.float64) if value is None else value for value in values]
        if any(item is not None for item in own):
            return tuple(values[member.group] for member in self._private.members)
        return values[0]

    def parameters_dict(self) -> dict[str, Any]:
        """Everything that is kept, by MindSpore's names and in its order."""
        private = self._private
        rate = self._learning_rate if private.hyper.schedules["learning_rate"].constant else None
        first = next(iter(private.powers.values()), (None, None))
        single = {"step": self._iterations, "learning_rate": rate, "beta1_power": first[0], "beta2_power": first[1]}
        found = {}
        for slot in (slot for block in self._dialect().slots for slot in block):
            if not slot.per_parameter and single.get(slot.role) is not None:
                found[slot.template] = single[slot.role]
            for variable, member in zip(private.variables, private.members, strict=True):
                kept = {
                    "parameter": variable,
                    "first_moment": member.m,
                    "second_moment": member.v,
                    "maximum_second_moment": member.vhat,
                }
                if slot.per_parameter and kept.get(slot.role) is not None:
                    found[slot.name_for(label(variable))] = kept[slot.role]
        return found

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Refused: here weight decay skips names and follows groups.

        Raises:
            AttributeError: always.
        """
        key = self._key("group_weight_decay")
        raise AttributeError(
            f"exclude_from_weight_decay() is Keras's; put these variables in a group of their own, with {key!r}: 0.0"
        )

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: Keras's decay is not this one, which is a stage of the step."""

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the loss scale that gradients are divided by; fit() calls it."""
        scale = self._private.hyper["loss_scale"]
        return loss if scale == 1 else loss * scale

    def __setattr__(self, name: str, value: Any) -> None:
        private: _Private | None = self.__dict__.get("_private")
        if private is None or name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
            return
        fact = self._dialect().find(name)
        if fact is None:
            found = [fact for dialect in MAPPING.dialects.values() if (fact := dialect.find(name)) is not None]
            meant = [MAPPING.canonical[other.canonical] for other in found]
            if any(item.scope == "hyperparameter" and value not in (None, item.neutral) for item in meant):
                raise AttributeError(f"cannot set {name!r}: {unknown_keyword(name, self._own_adapter())}")
            super().__setattr__(name, value)
            return
        if fact.canonical in FIXED_BY_STATE or fact.canonical in ("parameters", "use_locking"):
            raise AttributeError(f"{name!r} is decided when the optimizer is made; make a new one")
        given = {**private.given, name: _live(value)}
        signature = {item.name for item in self._dialect().parameters}
        hyper = resolve(
            self._own_adapter(),
            {key: item for key, item in given.items() if key in signature},
            {key: item for key, item in given.items() if key not in signature},
        )
        private.take(self._dialect(), hyper)
        private.given = given
        private.functions.clear()
        private.roundings = {
            dtype: Rounding(private.numerics, dtype, private.program.update) for dtype in private.roundings
        }
        object.__setattr__(self, name, value)

    def _show(self) -> None:
        """Make the hyperparameters attributes under their own names."""
        rate = self._dialect().named("learning_rate")
        assert rate is not None
        for name, value in self._private.hyper.native.items():
            if name != rate.name and value is not None:
                object.__setattr__(self, name, value)

    def _configuration(self, serialize: Callable[[Any], Any]) -> dict[str, Any]:
        """The hyperparameters under their own names, parameters by name."""
        private, dialect = self._private, self._dialect()
        rate, params = dialect.named("learning_rate"), dialect.named("parameters")
        assert rate is not None and params is not None
        native = {name: _plain(private.hyper.native[name], serialize) for name in private.given}
        if private.hyper.schedules["learning_rate"].constant:
            native[rate.name] = float(raw(self._learning_rate))
        described: list[Any]
        if private.described is not None and not private.members:
            described = private.described.entries
        elif any(self._facts_of(group, serialize) for group in private.groups):
            described = [
                {self._key("group_parameters"): [label(private.variables[i])], **self._facts_of(group, serialize)}
                for i, group in enumerate(private.groups[member.group] for member in private.members)
            ]
        else:
            described = [label(variable) for variable in private.variables]
            if private.arranged is not None and private.arranged.grouped:
                described = [{self._key("group_parameters"): described}]
        return {**native, params.name: described, "numerics": private.numerics.name}

    def _key(self, canonical: str) -> str:
        return next(fact.name for fact in self._dialect().groups if fact.canonical == canonical)

    def _facts_of(self, group: Group, serialize: Callable[[Any], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if group.learning_rate is not None:
            found[self._key("group_learning_rate")] = _plain(group.learning_rate.given, serialize)
        if group.weight_decay is not None:
            found[self._key("group_weight_decay")] = _plain(group.weight_decay.given, serialize)
        if group.centralize:
            found[self._key("group_centralization")] = True
        return found

    @classmethod
    def _from_configuration(cls, config: dict[str, Any], deserialize: Callable[[Any], Any]) -> Self:
        params = cls._dialect().named("parameters")
        assert params is not None
        arguments = {name: deserialize(value) if isinstance(value, dict) else value for name, value in config.items()}
        entries = arguments.pop(params.name)
        keep = cls._dialect().groups
        parsed = [
            {
                fact.name: deserialize(entry[fact.name]) if isinstance(entry[fact.name], dict) else entry[fact.name]
                for fact in keep
                if fact.name in entry
            }
            if isinstance(entry, dict)
            else entry
            for entry in entries
        ]
        return cls(**{params.name: Described(parsed)}, **arguments)


def _live(value: Any) -> Any:
    """A variable as a callable, so that its later values count too."""
    return (lambda: tf.convert_to_tensor(raw(value))) if _is_variable(value) else value


def _plain(value: Any, serialize: Callable[[Any], Any]) -> Any:
    return serialize(value) if callable(value) else value
