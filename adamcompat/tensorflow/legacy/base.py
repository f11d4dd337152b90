"""TensorFlow 2.6's Adam: the optimizer that tf_keras keeps, with its mistakes reported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import sparse, update
from adamcompat.tensorflow.arguments import moments_of, refuse_no_gradients, stand_still
from adamcompat.tensorflow.construction import construct
from adamcompat.tensorflow.hooks import Hooks
from adamcompat.tensorflow.whole import whole_step

_DIALECT = MAPPING.dialects["tf26"]
_SLOTS = moments_of(_DIALECT)


class LegacyAdam(tf_keras.optimizers.legacy.Adam):  # type: ignore[misc]
    """Base of the drop-in; use `adamcompat.tensorflow.legacy.Adam`."""

    _adapter: ClassVar[str]

    def __init__(self, given: dict[str, Any], extra: dict[str, Any]) -> None:
        construct(MAPPING.adapter("tensorflow_legacy", self._adapter), super().__init__, {**given, **extra})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            tf_keras.saving.register_keras_serializable(package="adamcompat.legacy")(cls)

    def __repr__(self) -> str:
        """What Keras 3 puts into its error when `compile` is given this optimizer, which is not one of its own."""
        if tf.keras.optimizers.Adam.__module__.startswith("tf_keras"):
            return str(super().__repr__())
        return (
            "<adamcompat.tensorflow.legacy.Adam: an optimizer of tf_keras, for custom training loops and for models "
            "of tf_keras. For Keras 3's compile use adamcompat.tensorflow.Adam(fused=True), which rounds alike, or "
            "set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported>"
        )

    def add_slot(self, var: Any, slot_name: str, initializer: Any = "zeros", shape: Any = None) -> Any:
        """The original's; the moments of bfloat16 variables that would stand still are kept in float32."""
        if var.dtype != tf.bfloat16 or not stand_still(self._get_hyper("beta_1"), self._get_hyper("beta_2")):
            return super().add_slot(var, slot_name, initializer, shape)
        with tf.variable_creator_scope(update.in_float32):
            return super().add_slot(var, slot_name, initializer, shape)

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> Any:
        """Update variables with their gradients.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and its variable.
            name: of the operation.
            experimental_aggregate_gradients: whether gradients of replicas are added up.

        Returns:
            The operation to run in a Session; in eager execution, the step counter.

        Raises:
            ValueError: no gradient at all.
            InvalidArgumentError: a gradient of another dtype than its variable.
        """
        # Variables of a Keras 3 model, which the original does not take, hold TensorFlow's.
        pairs = [(grad, var if isinstance(var, tf.Variable) else _held(var)) for grad, var in grads_and_vars]
        refuse_no_gradients(gradient for gradient, _ in pairs)
        with whole_step():
            return super().apply_gradients(pairs, name, experimental_aggregate_gradients)

    def _transform_gradients(self, grads_and_vars: Any) -> Any:
        # The last stage before the update: what transforms gradients may have mended their dtype. An update of
        # somebody's own may take any.
        pairs = super()._transform_gradients(grads_and_vars)
        for gradient, variable in pairs if _UPDATE.untouched(self) else ():
            kind = getattr(gradient, "dtype", None)
            if gradient is not None and kind is not None and tf.as_dtype(kind) != variable.dtype.base_dtype:
                raise tf.errors.InvalidArgumentError(
                    None,
                    None,
                    f"the gradient of {variable.name} is {tf.as_dtype(kind).name}, but the variable is "
                    f"{variable.dtype.name}; pass tf.cast(gradient, tf.{variable.dtype.base_dtype.name})",
                )
        return pairs

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        if self.__widened(var):
            return self.__apply_in_float32(grad, var)
        return super()._resource_apply_dense(grad, var, apply_state)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        if self.__widened(var):
            return self.__apply_in_float32(sparse.dense(tf.IndexedSlices(grad, indices), var.shape), var)
        return super()._resource_apply_sparse(grad, var, indices, apply_state)

    def __widened(self, variable: Any) -> bool:
        """Whether a bfloat16 variable has moments in float32, because it would stand still."""
        return bool(variable.dtype == tf.bfloat16 != self.get_slot(variable, _SLOTS.m).dtype)

    def __apply_in_float32(self, gradient: Any, variable: Any) -> Any:
        kind = tf.float32
        hyper = update.Hyper(
            self._decayed_lr(kind), self._get_hyper("beta_1", kind), self._get_hyper("beta_2", kind), self.epsilon
        )
        m, v = (self.get_slot(variable, name) for name in (_SLOTS.m, _SLOTS.v))
        row = update.Row(variable, gradient, m, v, self.get_slot(variable, _SLOTS.vhat) if self.amsgrad else None)
        numerics = MAPPING.numerics[_DIALECT.numerics]
        values = update.scalars(numerics, hyper, self.iterations + 1, kind)
        return tf.group(*update.update_one(row, values))


# The methods of tf_keras that update variables.
_UPDATE = Hooks(tf_keras.optimizers.legacy.Adam, LegacyAdam, ("_distributed_apply",))


def _held(variable: Any) -> Any:
    held = getattr(variable, "value", variable)
    return held if isinstance(held, tf.Variable) else variable
