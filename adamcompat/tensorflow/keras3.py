"""Keras 3's Adam and AdamW with their own bits, updating the whole list of variables at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence, Set
from operator import attrgetter
from typing import Any, ClassVar

import keras
import tensorflow as tf

from adamcompat import corrections as mending
from adamcompat.hyperparameters import exception
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import keras3_conditions as conditions
from adamcompat.tensorflow import operations, sparse, terms, update
from adamcompat.tensorflow.arguments import (
    dialect_of,
    is_number,
    is_scalar,
    is_tensor,
    raw,
    refuse_no_gradients,
    refuse_session,
    stand_still,
)
from adamcompat.tensorflow.construction import construct, without_time_decay
from adamcompat.tensorflow.hooks import Hooks
from adamcompat.tensorflow.state import Copied
from adamcompat.tensorflow.traced import Traced

# Before Keras 3.5 `iterations` counts calls, clipping and decay come in `apply`, before accumulation, and
# replicas do not add up their gradients.
BEFORE_35 = not hasattr(keras.optimizers.Optimizer, "iterations")
_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
_REPEATED_ROWS = "repeated_rows"


class Keras3Adam(keras.optimizers.Adam, Copied):  # type: ignore[misc]
    """Base of the drop-in on Keras 3; use `adamcompat.tensorflow.Adam`."""

    _adapter: ClassVar[str]
    _original: ClassVar[type[Any]] = keras.optimizers.Adam
    # The methods of Keras that are traced as a whole, and those that are called within the update of one variable.
    _step_hooks: ClassVar[Hooks]
    _inner_hooks: ClassVar[Hooks]
    _copied_patterns = "_exclude_from_weight_decay_pattern"
    # The first parent stays the original, for those who look for it, and has methods of its own for these.
    __reduce__, __deepcopy__ = Copied.__reduce__, Copied.__deepcopy__
    built: bool
    if BEFORE_35:
        _iterations = property(attrgetter("iterations"))

    def __init__(
        self, given: dict[str, Any], extra: dict[str, Any], *, fused: bool | None, corrections: bool | None
    ) -> None:
        adapter = MAPPING.adapter("tensorflow", self._adapter)
        wrong_type = exception(dialect_of(adapter).errors.wrong_type)
        if fused is not None and not isinstance(fused, bool):
            raise wrong_type(f"fused must be True, False or None, got {fused!r}")
        if fused and not _ON_TENSORFLOW:
            raise ValueError(
                f"fused=True needs Keras's TensorFlow backend; this is {keras.backend.backend()}. Leave fused out"
            )
        corrects = mending.wanted(corrections, wrong_type)
        construct(adapter, super().__init__, {**given, **without_time_decay(adapter, extra)})
        self.fused = fused
        self.corrections = corrects
        self.__corrections_given = corrections
        self.__traced = Traced()

    @property
    def __dialect(self) -> Dialect:
        return dialect_of(MAPPING.adapter("tensorflow", self._adapter))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_adapter" in vars(cls) and cls.__module__.startswith("adamcompat."):
            keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def get_config(self) -> dict[str, Any]:
        """Return Keras's own configuration, with `fused` and `corrections` where they were given."""
        own = {"fused": self.fused, "corrections": self.__corrections_given}
        return {**super().get_config(), **{name: value for name, value in own.items() if value is not None}}

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; what a copy or a pickle brought along is filled in.

        Args:
            var_list: the variables to train.

        Raises:
            ValueError: state was brought along for variables of other shapes.
        """
        if self.built:
            return
        super().build(var_list)
        try:
            self._copied_fill(var_list, more=True)
        except ValueError:
            self.built = False
            raise

    def _copied_excluded(self) -> list[int]:
        variables = enumerate(self._trainable_variables)
        return [index for index, variable in variables if not self._use_weight_decay(variable)]

    def _copied_exclude(self, variables: Sequence[Any]) -> None:
        self._exclude_from_weight_decay = {self._var_key(variable) for variable in variables}
        self._exclude_from_weight_decay_pattern = None
        self._exclude_from_weight_decay_cache: dict[Any, bool] = {}

    def add_variable(self, shape: Any, *args: Any, dtype: Any = None, name: Any = None, **kwargs: Any) -> Any:
        """Add a state variable, as Keras does.

        The moments of bfloat16 variables that would stand still are kept in float32.

        Args:
            shape: of the variable.
            args: more arguments of Keras's method, by position.
            dtype: of the variable; None stands for Keras's default.
            name: of the variable; its end says whether it is a moment.
            kwargs: more arguments of Keras's method, by name.

        Returns:
            The new variable.
        """
        narrow = dtype is not None and keras.backend.standardize_dtype(dtype) == "bfloat16"
        if narrow and conditions.is_moment(name) and stand_still(self.beta_1, self.beta_2):
            dtype = "float32"
        return super().add_variable(shape, *args, dtype=dtype, name=name, **kwargs)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """Update variables with their gradients.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and its variable.

        Returns:
            The step counter.

        Raises:
            ValueError: no gradient at all, or a variable that the optimizer was not built with.
            RuntimeError: in a graph that runs in a Session.
        """
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("No gradients provided for any variable: the list of gradients and variables is empty.")
        return super().apply_gradients(pairs)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Update variables with their gradients.

        Args:
            grads: one gradient for each variable: a tensor, IndexedSlices or None.
            trainable_variables: the variables, in the same order; None stands for those that the optimizer was built
                with.

        Raises:
            ValueError: as `apply_gradients`.
            RuntimeError: in a graph that runs in a Session.
        """
        if not _ON_TENSORFLOW:
            return super().apply(grads, trainable_variables)
        refuse_session("Keras", MAPPING.adapter("tensorflow", self._adapter))
        grads = list(grads)
        trainable_variables = None if trainable_variables is None else list(trainable_variables)
        if any(isinstance(gradient, tf.IndexedSlices) for gradient in grads):
            variables = self._trainable_variables if trainable_variables is None else trainable_variables
            if len(variables) == len(grads):
                grads = [self.__sparse(gradient, variable) for gradient, variable in zip(grads, variables, strict=True)]
        plain = super().apply

        def make() -> Any:
            variables = trainable_variables or self._trainable_variables
            if self._copied_pending is not None:
                if not self.built:
                    with keras.src.backend.name_scope(self.name, caller=self):
                        self.build(variables)
                    self.built = True
                self._copied_fill(self._trainable_variables)
            # Somebody's own code runs after the update, or variables are written to before it.
            if any(map(conditions.has_own_code, variables)):
                self.__traced.keep_everything(lambda: self.__everything(variables))
            return plain(grads, trainable_variables)

        return self.__traced.whole(raw(self._iterations), make)

    def __everything(self, variables: Iterable[Any]) -> list[Any]:
        """Return all variables that a step may change."""
        found = map(raw, (*variables, *self._trainable_variables, *self.variables))
        return list({id(one): one for one in found}.values())

    def __sparse(self, gradient: Any, variable: Any) -> Any:
        """Return a gradient as it goes to Keras.

        IndexedSlices are given their shape. Repeated rows are added up where that is to be corrected.
        """
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        if gradient.dense_shape is None:
            shape = tf.constant(tuple(variable.shape), tf.int64)
            gradient = tf.IndexedSlices(gradient.values, gradient.indices, shape)
        if self.corrections or self.fused:
            if operations.inside_xla():  # which knows no lists of rows of a length that depends on values
                return sparse.dense(gradient, raw(variable).shape)
            gradient = sparse.deduplicate(gradient)
        # Keras accumulates dense gradients, and divides by a tensor: there repeated rows have been added up.
        elif (
            not self.gradient_accumulation_steps
            and not is_tensor(self.loss_scale_factor)
            and not mending.silent(self.__dialect, _REPEATED_ROWS)
            and sparse.may_repeat(gradient)
        ):
            mending.left_out(self.__dialect, _REPEATED_ROWS, stacklevel=4)
        if self.loss_scale_factor is None or is_tensor(self.loss_scale_factor):
            return gradient
        return sparse.Scalable(gradient.values, gradient.indices, gradient.dense_shape)

    def _filter_empty_gradients(self, grads: Sequence[Any], vars: Sequence[Any]) -> Any:  # noqa: A002 - Keras's name
        refuse_no_gradients(grads)
        return super()._filter_empty_gradients(grads, vars)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its state.

        Args:
            gradient: a tensor or IndexedSlices.
            variable: the Keras variable that it belongs to.
            learning_rate: of this step: a number, a tensor or a variable.
        """
        own = raw(variable)
        if not _ON_TENSORFLOW:
            super().update_step(gradient, variable, learning_rate)
        elif self._inner_hooks.untouched(self) and conditions.takes(self, [gradient], [own], learning_rate):
            self.__update([gradient], [own], learning_rate, whole=False)
        elif conditions.needs_ours(self, own):
            self.__update([gradient], [own], learning_rate, whole=False, assign=self.__by_hooks(own))
        else:
            super().update_step(gradient, variable, learning_rate)

    def __by_hooks(self, variable: Any) -> Callable[[Any, Any], None]:
        """Return a function that writes by the methods by which Keras's own update writes: one may be replaced."""
        index = self._get_variable_index(variable)
        moments = self._momentums[index].value, self._velocities[index].value

        def assign(target: Any, value: Any) -> None:
            old = tf.convert_to_tensor(target)
            if target is variable:
                self.assign_sub(target, old - value)
            elif any(target is moment for moment in moments):
                self.assign_add(target, value - old)
            else:
                self.assign(target, value)

        return assign

    def __hyper(self, learning_rate: Any) -> terms.Hyper:
        """Return the hyperparameters of this step; betas may be callables."""
        rate = raw(learning_rate)
        # As Keras casts it: a Python number passes through float32.
        rate = tf.constant(rate) if isinstance(rate, (int, float)) else rate
        if self.__traced.hyper is not None:
            return self.__traced.hyper._replace(learning_rate=rate)
        beta1, beta2 = (beta() if callable(beta) else beta for beta in (self.beta_1, self.beta_2))
        decay = self.weight_decay if is_number(self.weight_decay) else None
        return terms.Hyper(rate, beta1, beta2, self.epsilon, decay)

    def _get_current_learning_rate(self) -> Any:
        if self.__traced.hyper is not None:
            return self.__traced.hyper.learning_rate
        return super()._get_current_learning_rate()

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if self.weight_decay is None:
            return
        now = list(variables)
        if self.__traced.waits:
            # What is updated in another dtype is rounded between the decay and the update, and what has one element
            # may be decayed in another order in a graph of the user's.
            least = 0 if tf.executing_eagerly() or self.__traced.hyper is not None else 2
            now = [one for one in variables if one.dtype == "bfloat16" or raw(one).shape.num_elements() < least]
            at_once = set(map(id, now))
            self.__traced.waiting = {id(raw(one)) for one in variables if id(one) not in at_once}
        self.__decay(now)

    def __decay(self, variables: Sequence[Any]) -> None:
        """Decay variables in a pass of their own."""
        hyper = self.__traced.hyper
        if hyper is None:
            if variables:
                self.__traced.first.keep_to_the_end()
            super()._apply_weight_decay(variables)
            return
        for variable in map(raw, variables):
            if self._use_weight_decay(variable):
                variable.assign(operations.decoupled_decay(variable, *terms.decay_of(hyper, variable.dtype)))

    def __waits(self) -> bool:
        """Return whether the decay of variables may be computed with their update, in one pass over memory."""
        return (
            self.weight_decay is not None
            and not BEFORE_35
            and not self.fused
            and not operations.inside_xla()
            and not tf.distribute.has_strategy()
            and self._step_hooks.untouched(self)
            and (
                self.__traced.first.puts_off
                if tf.executing_eagerly()
                else self.__traced.hyper is not None or conditions.multiplies_scalars(self)
            )
        )

    def __step(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        """Make the step that Keras makes."""
        self.__traced.waits, self.__traced.waiting = _ON_TENSORFLOW and self.__waits(), set()
        try:
            super()._backend_apply_gradients(grads, trainable_variables)
        finally:
            self.__traced.waits, self.__traced.waiting = False, set()

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        """Update the moving averages, as Keras does; inside XLA with the roundings that they have outside."""
        if not (_ON_TENSORFLOW and self.use_ema and operations.inside_xla()) or tf.distribute.has_strategy():
            super()._update_model_variables_moving_average(trainable_variables)
            return
        later = raw(self.iterations) != 0
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                own, old = raw(variable), raw(average)
                momentum = tf.cast(later, own.dtype) * self.ema_momentum
                old.assign(operations.moving_average(old, own, momentum, raw(self._iterations)))

    def __rows(self, gradients: Iterable[Any], variables: Iterable[Any]) -> list[terms.Row]:
        rows = []
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            if self.fused or not isinstance(gradient, tf.IndexedSlices):
                gradient = sparse.dense(gradient, variable.shape)
            m, v = self._momentums[index].value, self._velocities[index].value
            vhat = self._velocity_hats[index].value if self.amsgrad else None
            rows.append(terms.Row(variable, gradient, m, v, vhat))
        return rows

    def __update(
        self,
        gradients: Sequence[Any],
        variables: Sequence[Any],
        learning_rate: Any,
        whole: bool,
        assign: Callable[[Any, Any], Any] | None = None,
        waiting: Set[int] = frozenset(),
    ) -> None:
        """Update variables by the formula of the kernel.

        Args:
            gradients: one for each variable.
            variables: their tf.Variables, in the same order.
            learning_rate: of this step.
            whole: whether they may be updated together.
            assign: writes a value into a variable; None where nobody has replaced the methods of Keras that write.
            waiting: the ids of the variables that decay before, unless they are excluded.
        """
        hyper = self.__hyper(learning_rate)
        iterations, step = raw(self._iterations), raw(self.iterations) + 1
        rows = self.__rows(gradients, variables)
        compiled = operations.inside_xla()
        numerics = MAPPING.numerics[MAPPING.dialects["tf26"].numerics if self.fused else self.__dialect.numerics]
        first = self.__traced.first if whole and tf.executing_eagerly() else None
        if self.fused and assign is None:
            if first is not None:
                first.together(len(rows))
            update.update_fused(rows, numerics, hyper, iterations, step, inside_xla=compiled)
            return
        update.update_list(
            rows,
            numerics,
            hyper,
            iterations,
            step,
            inside_xla=compiled,
            whole=whole,
            assign=assign or self.assign,
            decays=lambda variable: id(variable) in waiting and self._use_weight_decay(variable),
            product=self.__traced.hyper is None and not tf.executing_eagerly(),
            first=first,
        )

    def __whole(self, gradients: Sequence[Any], raws: Sequence[Any], learning_rate: Any = None) -> bool:
        """Return whether the whole list may be updated at once, without any method of Keras in between."""
        return (
            not tf.distribute.has_strategy()
            and self._step_hooks.untouched(self)
            and len({id(one) for one in raws}) == len(raws)
            and conditions.takes(self, gradients, raws, learning_rate)
        )

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _backend_apply_gradients(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        plain, prepare, rate = self.__step, None, None
        # Accumulation decides in Python whether this is a step; the step itself is traced below.
        if _ON_TENSORFLOW and tf.executing_eagerly() and not self.gradient_accumulation_steps:
            constants, raws = conditions.constants(self), [raw(variable) for variable in trainable_variables]
            if constants is not None and conditions.as_they_are(self, grads, raws) and self.__whole(grads, raws):
                key = ("apply", self.fused, *constants)
                prepare = self.__traced.function(
                    key, plain, grads, trainable_variables, raws, self.__traced.state(self)
                )
                rate = None if prepare is None else self.learning_rate
        if prepare is None or not is_scalar(raw(rate)):
            self.__traced.keep_everything(lambda: self.__everything(trainable_variables), after=self.use_ema)
            plain(grads, trainable_variables)
            return
        self.__traced.make(prepare(self.__hyper(rate)))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        raws = [raw(variable) for variable in trainable_variables]
        waiting, self.__traced.waiting = self.__traced.waiting, set()
        if not _ON_TENSORFLOW or not self.__whole(grads, raws, learning_rate):
            self.__decay([one for one in trainable_variables if id(raw(one)) in waiting])
            if _ON_TENSORFLOW:
                warn_of_drift()
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return

        def step(gradients: Sequence[Any], variables: Sequence[Any]) -> None:
            self.__update(gradients, variables, self._get_current_learning_rate(), whole=True)

        prepare = None
        if tf.executing_eagerly():
            key = ("update", self.fused, bool(self.amsgrad))
            prepare = self.__traced.function(key, step, grads, raws, raws, self.__traced.state(self))
        if prepare is None:
            self.__update(grads, raws, learning_rate, whole=True, waiting=waiting)
        else:
            self.__traced.make(prepare(self.__hyper(learning_rate)))


def warn_of_drift() -> None:
    """Warn where the installed Keras does not add up the gradients of replicas."""
    if BEFORE_35 and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        warnings.warn(
            f"Keras {keras.__version__} does not add up the gradients of replicas, so that they drift apart; install "
            f"keras>=3.5 to train with tf.distribute",
            UserWarning,
            stacklevel=2,
        )


class Keras3AdamW(Keras3Adam, keras.optimizers.AdamW):  # type: ignore[misc]
    """Base of the drop-in on Keras 3; use `adamcompat.tensorflow.AdamW`."""

    _original = keras.optimizers.AdamW


for _kind in (Keras3Adam, Keras3AdamW):
    _kind._step_hooks = Hooks(_kind._original, _kind, ("_backend_apply_gradients",))
    _kind._inner_hooks = Hooks(_kind._original, _kind, ("update_step",), inner=True)
