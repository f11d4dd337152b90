"""Keras 3's Adam with its own bits, updating the whole list of variables at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, ClassVar

import keras
import tensorflow as tf

from adamcompat.corrections import wanted as corrections_wanted
from adamcompat.hyperparameters import exception
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import update
from adamcompat.tensorflow.arguments import check, dialect_of, is_tensor, raw, refuse_no_gradients, refuse_session
from adamcompat.tensorflow.state import Copied
from adamcompat.tensorflow.traced import Traced
from adamcompat.tensorflow.whole import whole_step

# Before Keras 3.5 `iterations` counts calls, clipping and decay come in `apply`, before accumulation, and
# replicas do not add up their gradients.
BEFORE_35 = not hasattr(keras.optimizers.Optimizer, "iterations")
_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# Methods of Keras that the fast path runs inside one traced function. Where a subclass has its own,
# it must be called as Keras calls it.
_TRACED = (
    "_backend_apply_gradients",
    "_backend_update_step",
    "update_step",
    "_clip_gradients",
    "_clip_by_norm",
    "_apply_weight_decay",
    "_update_model_variables_moving_average",
    "_overwrite_model_variables_with_average_value",
)
# Hyperparameters that tracing turns into constants: those that neither come in as tensors nor act before.
_ACT_BEFORE = ("loss_scale", "decoupled_weight_decay", "accumulation_steps")
_TRACED_ATTRIBUTES = tuple(
    fact.name
    for fact in MAPPING.dialects["keras3"].parameters
    if MAPPING.canonical[fact.canonical].scope == "hyperparameter"
    and fact.canonical not in (*update.Hyper._fields, *_ACT_BEFORE)
)


class Keras3Adam(keras.optimizers.Adam, Copied):  # type: ignore[misc]
    """Base of the drop-in on Keras 3; use `adamcompat.tensorflow.Adam`."""

    _adapter: ClassVar[str]
    _patterns = "_exclude_from_weight_decay_pattern"
    # The first parent stays the original, for those who look for it, and has methods of its own for these.
    __reduce__, __deepcopy__ = Copied.__reduce__, Copied.__deepcopy__
    built: bool
    if BEFORE_35:
        _iterations = property(attrgetter("iterations"))

    def __init__(
        self, given: dict[str, Any], extra: dict[str, Any], *, fused: bool | None, corrections: bool | None
    ) -> None:
        adapter = MAPPING.adapter("tensorflow", self._adapter)
        errors = dialect_of(adapter).errors
        extra = _without_time_decay(extra, exception(errors.unknown_keyword))
        if fused is not None and not isinstance(fused, bool):
            raise exception(errors.wrong_type)(f"fused must be True, False or None, got {fused!r}")
        if fused and not _ON_TENSORFLOW:
            raise ValueError(
                f"fused=True needs Keras's TensorFlow backend; this is {keras.backend.backend()}. Leave fused out"
            )
        rate = given["learning_rate"]
        if isinstance(rate, int) and not isinstance(rate, bool):
            raise ValueError(f"learning_rate must be a float, got {rate!r}; write {float(rate)!r}")
        super().__init__(**check(adapter, given, extra))
        self.fused = fused
        self.corrections = corrections_wanted(corrections, exception(errors.wrong_type))
        self._corrections_given = corrections
        self._traced = Traced()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def get_config(self) -> dict[str, Any]:
        """Keras's own configuration, and `fused` and `corrections` where they were given."""
        own = {"fused": self.fused, "corrections": self._corrections_given}
        return {**super().get_config(), **{name: value for name, value in own.items() if value is not None}}

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; what a copy or a pickle brought along is filled in.

        Raises:
            ValueError: state was brought along for variables of other shapes.
        """
        if self.built:
            return
        super().build(var_list)
        try:
            self._fill(var_list)
        except ValueError:
            self.built = False
            raise

    def _excluded(self) -> list[int]:
        variables = enumerate(self._trainable_variables)
        return [index for index, variable in variables if not self._use_weight_decay(variable)]

    def _exclude(self, variables: Sequence[Any]) -> None:
        self._exclude_from_weight_decay = {self._var_key(variable) for variable in variables}
        self._exclude_from_weight_decay_pattern = None
        self._exclude_from_weight_decay_cache: dict[Any, bool] = {}

    def add_variable(self, shape: Any, *args: Any, dtype: Any = None, name: Any = None, **kwargs: Any) -> Any:
        """Keras's; the moments of bfloat16 variables are kept in float32, where they can change."""
        if dtype is not None and keras.backend.standardize_dtype(dtype) == "bfloat16" and _is_moment(name):
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

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Update variables with `grads`; see `apply_gradients`."""
        if not _ON_TENSORFLOW:
            return super().apply(grads, trainable_variables)
        refuse_session("Keras")
        grads = list(grads)
        refuse_no_gradients(grads)
        densify = self.loss_scale_factor is not None or self.gradient_accumulation_steps
        for position, gradient in enumerate(grads):
            if isinstance(gradient, tf.IndexedSlices):
                variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
                unique = update.deduplicate(gradient)
                grads[position] = update.dense(unique, raw(variables[position]).shape) if densify else unique
        with whole_step():
            return super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        if not _ON_TENSORFLOW:
            super().update_step(gradient, variable, learning_rate)
            return
        self._update([gradient], [raw(variable)], learning_rate, whole=False)

    def _hyper(self, learning_rate: Any) -> update.Hyper:
        """The hyperparameters of this step; betas may be callables."""
        if self._traced.hyper is not None:
            return self._traced.hyper._replace(learning_rate=learning_rate)
        beta1, beta2 = (beta() if callable(beta) else beta for beta in (self.beta_1, self.beta_2))
        return update.Hyper(learning_rate, beta1, beta2, self.epsilon)

    def _get_current_learning_rate(self) -> Any:
        if self._traced.hyper is not None:
            return self._traced.hyper.learning_rate
        return super()._get_current_learning_rate()

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        # Done in `_decay` before tracing: within a graph, TensorFlow would multiply the two scalars first.
        if self._traced.hyper is None:
            super()._apply_weight_decay(variables)

    def _decay(self, variables: Iterable[Any], learning_rate: Any) -> None:
        """Decoupled weight decay, eagerly; clipping, which Keras does before it, is independent of it."""
        factors: dict[Any, tuple[Any, Any]] = {}
        for variable in map(raw, variables):
            if self._use_weight_decay(variable):
                kind = variable.dtype
                if kind not in factors:
                    factors[kind] = tf.cast(self.weight_decay, kind), tf.cast(raw(learning_rate), kind)
                variable.assign(update.decoupled_decay(variable, *factors[kind]))

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        """Keras's; inside XLA with the roundings that it has outside."""
        if not (_ON_TENSORFLOW and self.use_ema and update.inside_xla()) or tf.distribute.has_strategy():
            super()._update_model_variables_moving_average(trainable_variables)
            return
        later = raw(self.iterations) != 0
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                own, old = raw(variable), raw(average)
                momentum = tf.cast(later, own.dtype) * self.ema_momentum
                old.assign(update.moving_average(old, own, momentum, raw(self._iterations)))

    def _rows(self, gradients: Iterable[Any], variables: Iterable[Any]) -> list[update.Row]:
        rows = []
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            rows.append(
                update.Row(
                    variable,
                    update.dense(gradient, variable.shape),
                    self._momentums[index].value,
                    self._velocities[index].value,
                    self._velocity_hats[index].value if self.amsgrad else None,
                )
            )
        return rows

    def _update(self, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any, whole: bool) -> None:
        hyper = self._hyper(raw(learning_rate))
        iterations, step = raw(self._iterations), raw(self.iterations) + 1
        rows = self._rows(gradients, variables)
        compiled = update.inside_xla()
        if self.fused:
            numerics = MAPPING.numerics[MAPPING.dialects["tf26"].numerics]
            update.update_fused(rows, numerics, hyper, iterations, step, inside_xla=compiled)
            return
        numerics = MAPPING.numerics[dialect_of(MAPPING.adapter("tensorflow", self._adapter)).numerics]
        update.update_list(
            rows, numerics, hyper, iterations, step, inside_xla=compiled, whole=whole, assign=self.assign
        )

    def _replaced(self) -> bool:
        """Whether a subclass has its own version of what the fast path would trace."""
        return any(getattr(type(self), name) is not _OWN[name] for name in _TRACED)

    def _whole(self, variables: Sequence[Any]) -> bool:
        raws = [raw(variable) for variable in variables]
        return (
            not tf.distribute.has_strategy()
            and not self._replaced()
            and len({id(one) for one in raws}) == len(raws)
            and all(isinstance(one, tf.Variable) for one in raws)
            and update.supported(raws)
        )

    def _clips(self) -> bool:
        return any(limit is not None for limit in (self.clipnorm, self.clipvalue, self.global_clipnorm))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _backend_apply_gradients(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        plain = super()._backend_apply_gradients
        # Accumulation decides in Python whether this is a step, and rows are clipped as rows; the step
        # itself is traced below.
        if (
            not _ON_TENSORFLOW
            or not tf.executing_eagerly()
            or self.gradient_accumulation_steps
            or (self._clips() and any(isinstance(gradient, tf.IndexedSlices) for gradient in grads))
            or not self._whole(trainable_variables)
        ):
            plain(grads, trainable_variables)
            return
        rate = self.learning_rate
        run = self._function("apply", plain, grads, trainable_variables, rate)
        if run is None:
            plain(grads, trainable_variables)
            return
        if self.weight_decay is not None and not BEFORE_35:
            self._decay(trainable_variables, rate)
        run()

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        if not _ON_TENSORFLOW or not self._whole(trainable_variables):
            if _ON_TENSORFLOW:
                warn_of_drift()
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        raws = [raw(variable) for variable in trainable_variables]
        if not tf.executing_eagerly():
            self._update(grads, raws, learning_rate, whole=True)
            return

        def step(gradients: Sequence[Any], variables: Sequence[Any]) -> None:
            self._update(gradients, variables, self._get_current_learning_rate(), whole=True)

        run = self._function("update", step, grads, raws, learning_rate)
        if run is None:
            self._update(grads, raws, learning_rate, whole=True)
        else:
            run()

    def _function(
        self,
        what: str,
        function: Callable[[Sequence[Any], Sequence[Any]], None],
        gradients: Sequence[Any],
        variables: Sequence[Any],
        learning_rate: Any,
    ) -> Callable[[], Any] | None:
        """`function` as one traced function; None when it is asked for the first time."""
        rate = raw(learning_rate) if is_tensor(learning_rate) else tf.constant(learning_rate, keras.config.floatx())
        constants = tuple([getattr(self, name) for name in _TRACED_ATTRIBUTES])
        raws = [raw(variable) for variable in variables]
        key = (what, self.fused, constants)
        return self._traced.function(key, function, gradients, variables, raws, self._hyper(rate))


def warn_of_drift() -> None:
    """Warn where the installed Keras leaves out to add up the gradients of replicas."""
    if BEFORE_35 and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        warnings.warn(
            f"Keras {keras.__version__} does not add up the gradients of replicas, so that they drift apart; install "
            f"keras>=3.5 to train with tf.distribute",
            UserWarning,
            stacklevel=2,
        )


def _without_time_decay(extra: dict[str, Any], error: type[Exception]) -> dict[str, Any]:
    """Keras takes the decay of TensorFlow 2.6 for compatibility, and ignores it; here it may be 0 only."""
    canonical = "inverse_time_decay"
    fact = MAPPING.dialects["tf26"].named(canonical)
    assert fact is not None
    value = extra.get(fact.name)
    if value:
        schedule = next(one for one in MAPPING.schedules.values() if one.canonical == canonical).classes["keras3"]
        names = {argument.role: argument.name for argument in schedule.arguments}
        raise error(
            f"{fact.name}={value!r}: Keras 3 ignores it. Pass learning_rate={schedule.target}(learning_rate, "
            f"{names['steps']}=1, {names['rate']}={value!r}) instead, or use adamcompat.tensorflow.legacy.Adam"
        )
    return {name: given for name, given in extra.items() if name != fact.name}


def _is_moment(name: Any) -> bool:
    slots = [slot for block in MAPPING.dialects["keras3"].slots for slot in block]
    moments = ("first_moment", "second_moment", "maximum_second_moment")
    return any(str(name).endswith(slot.template.partition("}")[2]) for slot in slots if slot.role in moments)


_OWN = {name: getattr(Keras3Adam, name) for name in _TRACED if _ON_TENSORFLOW}
