"""MindSpore's calling convention on TensorFlow's variables: ``optimizer(gradients)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from adamcompat.groups import Arranged, Arrangement
from adamcompat.hyperparameters import (
    FIXED_BY_STATE,
    Adapted,
    Hyperparameters,
    named_numerics,
    resolve,
    unknown_keyword,
)
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule
from adamcompat.tensorflow import operations
from adamcompat.tensorflow.arguments import raw, refuse_session
from adamcompat.tensorflow.call_config import configuration, found_among, group_key, read_configuration
from adamcompat.tensorflow.call_gradients import fitting, row_checks, signature
from adamcompat.tensorflow.call_numbers import current_rate, length_checks, numbers_of_step
from adamcompat.tensorflow.call_state import Described, Private, identity, is_variable, label, live
from adamcompat.tensorflow.rounding import Rounding
from adamcompat.tensorflow.step import Numbers, Step

if TYPE_CHECKING:
    from typing_extensions import Self


class CallAdam(Adapted):
    """Share among the adapters that are called as MindSpore's optimizers are, whichever Keras they belong to.

    A subclass adds `_new_variable`, by which it has its state created.
    """

    _runtime: ClassVar[str] = "tensorflow"
    _private: Private
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
    def _checked(cls, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> Private:
        """The arguments of a call, validated."""
        rounding = named_numerics(numerics, cls._own_adapter())
        params = cls._dialect().named("parameters")
        assert params is not None
        value = given[params.name]
        given = {name: live(item) for name, item in {**given, **extra}.items() if name != params.name}
        private = Private(cls._dialect(), cls._resolved(given), given, rounding)
        if isinstance(value, Described):
            private.described = value
        else:
            private.arranged = cls._arranged(value)
        return private

    @classmethod
    def _resolved(cls, given: dict[str, Any]) -> Hyperparameters:
        """The hyperparameters of a call, validated."""
        named = {fact.name for fact in cls._dialect().parameters}
        return resolve(
            cls._own_adapter(),
            {name: item for name, item in given.items() if name in named},
            {name: item for name, item in given.items() if name not in named},
        )

    @classmethod
    def _arranged(cls, value: Any) -> Arranged:
        arrange = Arrangement(cls._dialect(), (tf.Variable, tf.Tensor), "variables", identity)
        if is_variable(value):
            raise cls._error("wrong_type")("params must be a list of variables, got one variable: write [variable]")
        arranged = arrange(value)
        seen: dict[Any, str] = {}
        for position, variable in enumerate(arranged.variables):
            if not is_variable(variable):
                raise cls._error("wrong_type")(
                    f"parameter {position} must be a tf.Variable or a Keras variable, got {type(variable).__name__}"
                )
            if raw(variable).dtype not in operations.FLOATS:
                raise cls._error("wrong_type")(
                    f"parameter {label(variable)!r} is {raw(variable).dtype.name}; only float16, bfloat16, float32 "
                    f"and float64 can be updated"
                )
            if identity(variable) in seen:
                raise cls._error("repeated_parameter")(f"parameter {label(variable)!r} is given twice; pass each once")
            seen[identity(variable)] = label(variable)
        return arranged

    def _describe(self, variables: Sequence[Any]) -> Arranged:
        """The parameters of a configuration, found among variables."""
        assert self._private.described is not None
        return self._arranged(found_among(variables, self._private.described, self._dialect()))

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
        refuse_session("Keras", self._own_adapter())
        self._check_built()
        known = {identity(variable) for variable in self._private.variables}
        seen: set[Any] = set()
        for variable in variables:
            if identity(variable) not in known:
                raise self._error("unknown_parameter")(
                    f"Unknown variable: {label(variable)!r}. The optimizer updates the parameters that it was made "
                    f"with; make a new optimizer for others"
                )
            if identity(variable) in seen:
                raise self._error("repeated_parameter")(
                    f"variable {label(variable)!r} is given twice; add its gradients up first"
                )
            seen.add(identity(variable))
        return [
            fitting(gradient, variable, self._error) for gradient, variable in zip(gradients, variables, strict=True)
        ]

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
                checks: list[Any] = []
                if not operations.inside_xla():
                    checks += length_checks(private, raw(self._iterations))
                    checks += row_checks(gradients, [private.members[position] for position in positions])
                with tf.control_dependencies(checks):
                    self._update(positions, gradients, self._numbers(), raw(self._iterations))
                return
            numbers = self._numbers()
            key = (positions, tuple(map(signature, gradients)))
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

    def _rate_variable(self) -> Any:
        """The variable that holds the learning rate; None where that is a schedule."""
        return raw(self._learning_rate) if self._private.hyper.schedules["learning_rate"].constant else None

    def _numbers(self) -> list[Numbers]:
        """Return what each group's next step depends on."""
        return numbers_of_step(self._private, raw(self._iterations), self._rate_variable())

    def _current_rate(self) -> Any:
        """The optimizer's own learning rate for the next step, from its schedule."""
        return current_rate(self._private, raw(self._iterations))

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
        value = live(value)
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
        values = [getattr(number, what) for number in self._numbers()]
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
        key = group_key(self._dialect(), "group_weight_decay")
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
        private: Private | None = self.__dict__.get("_private")
        if private is None or name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
            return
        fact = self._dialect().find(name)
        if fact is None:
            found = [fact for dialect in MAPPING.dialects.values() if (fact := dialect.find(name)) is not None]
            meant = [MAPPING.canonical[part.canonical] for other in found for part in other.parts]
            if any(item.scope == "hyperparameter" and value not in (None, item.neutral) for item in meant):
                raise AttributeError(f"cannot set {name!r}: {unknown_keyword(name, self._own_adapter())}")
            super().__setattr__(name, value)
            return
        fixed = (*FIXED_BY_STATE, "parameters", "use_locking")
        if any(part.canonical in fixed for part in fact.parts):
            raise AttributeError(f"{name!r} is decided when the optimizer is made; make a new one")
        given = {**private.given, name: live(value)}
        private.take(self._dialect(), self._resolved(given))
        private.given = given
        private.functions.clear()
        private.roundings = {
            dtype: Rounding(private.numerics, dtype, private.program.update) for dtype in private.roundings
        }
        object.__setattr__(self, name, value if isinstance(fact, ParameterFact) else private.hyper.native[name])

    def _show(self) -> None:
        """Make the hyperparameters attributes under their own names."""
        rate = self._dialect().named("learning_rate")
        assert rate is not None
        for name, value in self._private.hyper.native.items():
            if name != rate.name and value is not None:
                object.__setattr__(self, name, value)

    def _configuration(self, serialize: Callable[[Any], Any]) -> dict[str, Any]:
        """The hyperparameters under their own names, parameters by name."""
        return configuration(self._private, self._dialect(), self._rate_variable(), serialize)

    @classmethod
    def _from_configuration(cls, config: dict[str, Any], deserialize: Callable[[Any], Any]) -> Self:
        return cls(**read_configuration(config, cls._dialect(), deserialize))
