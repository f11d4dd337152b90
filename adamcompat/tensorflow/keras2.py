"""tf_keras's Adam (TF_USE_LEGACY_KERAS=1) under Keras 3's signature, updating the whole list at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from adamcompat.corrections import wanted as corrections_wanted
from adamcompat.hyperparameters import exception
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import update
from adamcompat.tensorflow.arguments import check, dialect_of, moments_of, refuse_no_gradients, refuse_session
from adamcompat.tensorflow.state import Copied
from adamcompat.tensorflow.traced import Traced
from adamcompat.tensorflow.whole import whole_step

_SIGNATURE = {
    name: parameter
    for name, parameter in inspect.signature(tf_keras.optimizers.Adam).parameters.items()
    if parameter.kind is not parameter.VAR_KEYWORD
}
_NAMES = [fact.name for fact in MAPPING.dialects["keras3"].parameters]
# Parameters of Keras 3 that the installed tf_keras does not have, and what a configuration of tf_keras holds
# besides Keras 3's: its own parameters, and the mark by which it tells its optimizers apart when it loads one.
_ABSENT = [name for name in _NAMES if name not in _SIGNATURE]
_OWN = ["is_legacy_optimizer", *(name for name in _SIGNATURE if name not in _NAMES)]
# Named as in TensorFlow 2.6.
_MOMENTS = moments_of(MAPPING.dialects["tf26"])


class Keras2Adam(tf_keras.optimizers.Adam, Copied):  # type: ignore[misc]
    """Base of the drop-in on tf_keras; use `adamcompat.tensorflow.Adam`."""

    _adapter: ClassVar[str]
    _patterns = "_exclude_from_weight_decay_names"
    # The first parent stays the original, for those who look for it, and has methods of its own for these.
    __reduce__, __deepcopy__ = Copied.__reduce__, Copied.__deepcopy__

    def __init__(
        self, given: dict[str, Any], extra: dict[str, Any], *, fused: bool | None, corrections: bool | None
    ) -> None:
        adapter = MAPPING.adapter("tensorflow", self._adapter)
        errors = dialect_of(adapter).errors
        if fused is not None and not isinstance(fused, bool):
            raise exception(errors.wrong_type)(f"fused must be True, False or None, got {fused!r}")
        own = {name: extra[name] for name in _OWN if name in extra}
        arguments = check(adapter, given, {name: value for name, value in extra.items() if name not in own})
        for name in _ABSENT:
            if arguments.pop(name) is not None:
                raise ValueError(
                    f"{name} is Keras 3's, and TF_USE_LEGACY_KERAS=1 selects tf_keras, which has no counterpart; "
                    f"leave it out, or unset TF_USE_LEGACY_KERAS"
                )
        if arguments["name"] is None:
            arguments["name"] = _SIGNATURE["name"].default
        if own.get("adaptive_epsilon"):
            raise ValueError("adaptive_epsilon=True is another update; use tf_keras.optimizers.Adam for it")
        super().__init__(**arguments, **own)
        self.fused = fused
        self.corrections = corrections_wanted(corrections, exception(errors.wrong_type))
        self._corrections_given = corrections
        self._traced = Traced()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            tf_keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def get_config(self) -> dict[str, Any]:
        """tf_keras's own configuration, and `fused` and `corrections` where they were given."""
        own = {"fused": self.fused, "corrections": self._corrections_given}
        return {**super().get_config(), **{name: value for name, value in own.items() if value is not None}}

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; what a copy or a pickle brought along is filled in.

        Raises:
            ValueError: state was brought along for variables of other shapes.
        """
        super().build(var_list)
        try:
            self._fill(var_list)
        except ValueError:
            self._built = False
            raise

    def _excluded(self) -> list[int]:
        keys = getattr(self, "_exclude_from_weight_decay", [])
        return [index for key, index in getattr(self, "_index_dict", {}).items() if key in keys]

    def _exclude(self, variables: Sequence[Any]) -> None:
        self._exclude_from_weight_decay = [self._var_key(variable) for variable in variables]

    def add_variable_from_reference(
        self, model_variable: Any, variable_name: str, shape: Any = None, initial_value: Any = None
    ) -> Any:
        """tf_keras's; the moments of bfloat16 variables are kept in float32, where they can change."""
        add = super().add_variable_from_reference
        if variable_name not in _MOMENTS or getattr(model_variable, "true_dtype", model_variable.dtype) != tf.bfloat16:
            return add(model_variable, variable_name, shape, initial_value)
        with tf.variable_creator_scope(update.in_float32):
            return add(model_variable, variable_name, shape, initial_value)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *args: Any, **kwargs: Any) -> Any:
        """Update variables with their gradients, as tf_keras.optimizers.Adam does.

        Raises:
            ValueError: no gradient at all.
            RuntimeError: in a graph that runs in a Session.
        """
        refuse_session("tf_keras")
        pairs = list(grads_and_vars)
        refuse_no_gradients(gradient for gradient, _ in pairs)
        with whole_step():
            return super().apply_gradients(pairs, *args, **kwargs)

    def update_step(self, gradient: Any, variable: Any) -> None:
        """Update one variable."""
        self._update([gradient], [variable], whole=False)

    def _distributed_apply_gradients_fn(
        self, distribution: Any, grads_and_vars: Sequence[tuple[Any, Any]], **kwargs: Any
    ) -> Any:
        replaced = type(self).update_step is not Keras2Adam.update_step
        distinct = len({id(variable) for _, variable in grads_and_vars}) == len(grads_and_vars)
        if tf.distribute.has_strategy() or self.use_ema or replaced or not distinct:
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        gradients, variables = zip(*grads_and_vars, strict=True)
        run = None
        if tf.executing_eagerly() and all(isinstance(variable, tf.Variable) for variable in variables):
            key = (self.fused, self.amsgrad)
            run = self._traced.function(key, self._update, gradients, variables, variables, self._hyper())
        if run is None:
            self._update(gradients, variables)
        else:
            run()
        return super()._distributed_apply_gradients_fn(distribution, [], **kwargs)

    def _hyper(self) -> update.Hyper:
        """The hyperparameters of this step; betas may be callables."""
        if self._traced.hyper is not None:
            return self._traced.hyper
        beta1, beta2 = (beta() if callable(beta) else beta for beta in (self.beta_1, self.beta_2))
        return update.Hyper(tf.convert_to_tensor(self.learning_rate), beta1, beta2, self.epsilon)

    def _update(self, gradients: Sequence[Any], variables: Sequence[Any], whole: bool = True) -> None:
        hyper, rows = self._hyper(), []
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._index_dict[self._var_key(variable)]
            vhat = self._velocity_hats[index] if self.amsgrad else None
            dense = update.dense(gradient, variable.shape)
            rows.append(update.Row(variable, dense, self._momentums[index], self._velocities[index], vhat))
        step, compiled = self.iterations + 1, update.inside_xla()
        if self.fused:
            numerics = MAPPING.numerics[MAPPING.dialects["tf26"].numerics]
            update.update_fused(rows, numerics, hyper, self.iterations, step, inside_xla=compiled)
            return
        numerics = MAPPING.numerics[dialect_of(MAPPING.adapter("tensorflow", self._adapter)).numerics]
        update.update_list(rows, numerics, hyper, self.iterations, step, inside_xla=compiled, whole=whole)
