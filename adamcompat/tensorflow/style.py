"""Share among optimizers of Keras what a step needs that makes another framework's call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from adamcompat.groups import Arranged
from adamcompat.hyperparameters import Adapted, Hyperparameters, named_numerics, resolve
from adamcompat.mapping.model import MethodFact
from adamcompat.schedules import Schedule
from adamcompat.tensorflow import operations
from adamcompat.tensorflow.arguments import raw, refuse_session
from adamcompat.tensorflow.call_config import configuration, found_among, read_configuration
from adamcompat.tensorflow.call_gradients import fitting, row_checks, signature
from adamcompat.tensorflow.call_numbers import current_rate, length_checks, numbers_of_step
from adamcompat.tensorflow.call_state import Described, Private, identity, is_variable, label, live
from adamcompat.tensorflow.state import Copied
from adamcompat.tensorflow.step import Numbers, Step

if TYPE_CHECKING:
    from typing_extensions import Self


class StyledAdam(Copied, Adapted):
    """Share among the adapters that are called as another framework's optimizers are, whichever Keras they belong to.

    A subclass of each Keras adds `_new_variable`, by which it has its state created; one of each call adds `_grouped`
    and `_described`.
    """

    _runtime: ClassVar[str] = "tensorflow"
    _library: ClassVar[str] = "Keras"
    _private: Private
    _iterations: Any
    _learning_rate: Any

    if TYPE_CHECKING:

        def _new_variable(
            self, reference: Any, dtype: Any, name: str, shape: tuple[int, ...] = (), initial: Any = None
        ) -> Any:
            """Return a new state variable, zero where no initial value is given.

            It has the shape of `reference` and lies beside it, unless that is None.
            """

        def _var_key(self, variable: Any) -> Any:
            """Return a key that differs from variable to variable; the same for all replicas of one."""

        def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
            """Make one step, as Keras calls it."""

        def build(self, variables: Sequence[Any]) -> None:
            """Create the state."""

        def get_config(self) -> dict[str, Any]:
            """Return the hyperparameters under their own names."""

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Self:
            """Return an optimizer of a configuration."""

        @classmethod
        def _grouped(cls, value: Any, given: dict[str, Any]) -> Arranged:
            """Read the parameters of a call, of which `given` are the other arguments."""

        def _described(self, serialize: Callable[[Any], Any]) -> Any:
            """Return the parameters for a configuration, by name."""

    @classmethod
    def _checked(cls, given: dict[str, Any], extra: dict[str, Any], numerics: str) -> Private:
        """Return the arguments of a call, validated."""
        rounding = named_numerics(numerics, cls._own_adapter())
        params = cls._dialect().named("parameters")
        assert params is not None
        value = given[params.name]
        given = {name: live(item) for name, item in {**given, **extra}.items() if name != params.name}
        private = Private(cls._dialect(), cls._resolved(given), given, rounding)
        if isinstance(value, Described):
            private.described = value
        elif value is not None or not cls._awaits():
            private.listed = True
            private.arranged = cls._arranged(value, given)
        return private

    @classmethod
    def _awaits(cls) -> bool:
        """Return whether the parameters may come with the first step."""
        return False

    @classmethod
    def _resolved(cls, given: dict[str, Any]) -> Hyperparameters:
        """Return the hyperparameters of a call, validated."""
        named = {fact.name for fact in cls._dialect().parameters}
        return resolve(
            cls._own_adapter(),
            {name: item for name, item in given.items() if name in named},
            {name: item for name, item in given.items() if name not in named},
        )

    @classmethod
    def _arranged(cls, value: Any, given: dict[str, Any]) -> Arranged:
        if is_variable(value):
            raise cls._error("wrong_type")("params must be a list of variables, got one variable: write [variable]")
        arranged = cls._grouped(value, given)
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

    def _found(self, variables: Sequence[Any]) -> Arranged:
        """Return the parameters that a model brings, grouped as the configuration says."""
        private = self._private
        value = list(variables)
        if private.described is not None:
            value = found_among(variables, private.described, self._dialect())
        return self._arranged(value, private.given)

    def _await(self, variables: Sequence[Any]) -> None:
        """Create the state for the variables of the first step, where that is how they come."""
        if self._awaits() and not self._private.members:
            with tf.init_scope():
                self.build(variables)

    def _check_built(self) -> None:
        if not self._private.members:
            raise ValueError(
                "this optimizer was made from a configuration, or is a copy, and has no variables yet; call "
                "build(variables) first"
            )

    def _ordered(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Return gradients as tensors or IndexedSlices, checked; None stays.

        Raises:
            TypeError, ValueError: a gradient or a variable does not fit.
            RuntimeError: in a graph that runs in a Session.
        """
        refuse_session(self._library, self._own_adapter())
        self._await(variables)
        self._check_built()
        # Refused where the state that a copy brought did not fit: no step is made without it.
        self._copied_fill(self._private.variables)
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

    def _advance(self, gradients: Sequence[Any], variables: Sequence[Any], *, alone: bool = False) -> None:
        """Update `variables`; the step counter is Keras's to move.

        Args:
            gradients: a tensor or IndexedSlices for each.
            variables: all that have a gradient in this step.
            alone: whether there are others, which are updated by calls of their own.
        """
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
                    self._update(positions, alone, gradients, self._numbers(), raw(self._iterations))
                return
            numbers = self._numbers()
            key = (positions, alone, tuple(map(signature, gradients)))
            known = private.functions.get(key)
            if known is None or any(getattr(variable, "constraint", None) is not None for variable in variables):
                private.traced.keep_everything(self._everything)
            if known is None:
                # Tracing takes longer than a step, and is worth it for those who make another.
                if len(private.functions) > 8:
                    private.functions.clear()
                private.functions[key] = tf.function(
                    lambda *arguments: self._update(positions, alone, *arguments), autograph=False
                )
                self._update(positions, alone, gradients, numbers, raw(self._iterations))
            else:
                iterations, note = tf.convert_to_tensor(raw(self._iterations)), private.traced.note()
                note(known(list(gradients), numbers, iterations))

    def _everything(self) -> list[Any]:
        """Return all variables that a step may change."""
        private = self._private
        powers = [raw(power) for pair in private.powers.values() for power in pair]
        return [*(one for member in private.members for one in member[:4]), *powers, raw(private.missed)]

    def _update(
        self, positions: tuple[int, ...], alone: bool, gradients: Sequence[Any], numbers: Any, iterations: Any
    ) -> None:
        private = self._private
        products = {dtype: (raw(one), raw(other)) for dtype, (one, other) in private.powers.items()}
        missed = None if private.missed is None else tf.convert_to_tensor(raw(private.missed))
        after, members = products, [private.members[position] for position in positions]
        for part in dict.fromkeys(private.parts):
            chosen = [place for place, member in enumerate(members) if private.parts[member.group] is part]
            if chosen:
                step = Step(part.program, part.roundings, numbers, iterations, products)
                own = None if missed is None else tf.gather(missed, [positions[place] for place in chosen])
                step.apply([members[place] for place in chosen], [gradients[place] for place in chosen], own)
                after = step.products
        for dtype, pair in products.items():
            for power, value in zip(pair, after[dtype], strict=True):
                power.assign(value, read_value=False)
        if not alone:
            self._note_missed(positions)

    def _note_missed(self, positions: Sequence[int]) -> None:
        """Count the step as missed by all but some parameters, where each has steps of its own."""
        private = self._private
        if private.missed is not None and len(positions) < len(private.variables):
            present = set(positions)
            absent = [int(position not in present) for position in range(len(private.variables))]
            raw(private.missed).assign_add(tf.constant(absent, tf.int64))

    def _rate_variable(self) -> Any:
        """Return the variable that holds the learning rate; None where that is a schedule."""
        return raw(self._learning_rate) if self._private.hyper.schedules["learning_rate"].constant else None

    def _numbers(self) -> list[Numbers]:
        """Return learning rate and weight decay of each group for the next step."""
        return numbers_of_step(self._private, raw(self._iterations), self._rate_variable())

    def _current_rate(self) -> Any:
        """Return the optimizer's own learning rate for the next step, from its schedule."""
        return current_rate(self._private, raw(self._iterations))

    def _refuse_products(self) -> None:
        if self._private.powers:
            raise ValueError(
                f"numerics={self._private.numerics.name!r} keeps running products, which replicas do not share; use "
                f"other numerics under tf.distribute"
            )

    def _rate_given(self, value: Any, constant: bool) -> Schedule | None:
        """Return a learning rate that replaces another, checked; None for a tensor whose value is not known yet.

        Args:
            value: the new learning rate.
            constant: whether the other one is a number.

        Raises:
            TypeError: a number over a schedule, or a schedule over a number: there is no variable to hold it.
        """
        fact = self._dialect().named("learning_rate")
        assert fact is not None
        value = live(value)
        errors = self._error("wrong_type"), self._error("out_of_range")
        if tf.is_tensor(value) and not tf.executing_eagerly():
            schedule = None
        else:
            schedule = Schedule(value, fact.name, fact.range, *errors)
        if (schedule is None or schedule.constant) != constant:
            raise TypeError(
                f"{fact.name} was made a {'number' if schedule is not None and not schedule.constant else 'schedule'} "
                f"and can only be replaced by another; make a new optimizer"
            )
        return schedule

    def _set_learning_rate(self, value: Any) -> None:
        """Replace the learning rate from the next step on.

        Raises:
            TypeError: a number over a schedule, or a schedule over a number: there is no variable to hold it.
        """
        private, fact = self._private, self._dialect().named("learning_rate")
        assert fact is not None
        schedule = self._rate_given(value, private.hyper.schedules["learning_rate"].constant)
        if schedule is None or schedule.constant:
            held = raw(self._learning_rate)
            # Past whoever watches the variable.
            type(held).assign(held, tf.cast(value, tf.float64) if schedule is None else schedule.at(0))
            return
        private.hyper.schedules["learning_rate"] = private.hyper.values["learning_rate"] = schedule
        private.hyper.native[fact.name] = private.given[fact.name] = live(value)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Refuse to leave variables out of weight decay, which skips names and follows groups here.

        Raises:
            AttributeError: always.
        """
        dialect = self._dialect()
        decays = ("group_weight_decay", "l2_weight_decay", "decoupled_weight_decay")
        key = next(fact.name for fact in (*dialect.groups, *dialect.facts) if fact.canonical in decays)
        raise AttributeError(
            f"exclude_from_weight_decay() is Keras's; put these variables in a group of their own, with {key!r}: 0.0"
        )

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: Keras's decay is not this one, which is a stage of the step."""

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the loss scale, by which a step divides gradients; fit() calls it."""
        scale = self._private.hyper["loss_scale"]
        return loss if scale == 1 else loss * scale

    def _show(self) -> None:
        """Make the hyperparameters attributes under their own names."""
        rate = self._dialect().named("learning_rate")
        assert rate is not None
        for name, value in self._private.hyper.native.items():
            if name != rate.name and value is not None:
                object.__setattr__(self, name, value)

    def _configuration(self, serialize: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the hyperparameters under their own names, and the parameters by name."""
        private, dialect = self._private, self._dialect()
        return configuration(private, dialect, self._rate_variable(), self._described(serialize), serialize)

    def _copied_config(self) -> dict[str, Any]:
        """Return the configuration, with schedules as they are."""
        own = self._configuration(lambda value: value)
        return {name: own.get(name, value) for name, value in self.get_config().items()}

    @classmethod
    def _copied_from(cls, config: dict[str, Any]) -> Any:
        return cls.from_config(config)

    @classmethod
    def _from_configuration(cls, config: dict[str, Any], deserialize: Callable[[Any], Any]) -> Self:
        return cls(**read_configuration(config, cls._dialect(), deserialize))

    @classmethod
    def _method(cls, name: str) -> MethodFact | None:
        """Return the method of the original call that has this name, or None."""
        return next((method for method in cls._dialect().methods if method.name == name), None)
