"""TensorFlow 2.6's Adam: the optimizer that tf_keras keeps, with its mistakes reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import tensorflow as tf
import tf_keras

from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import operations, sparse, terms, update
from adamcompat.tensorflow.arguments import check_gradient, moments_of, refuse_no_gradients, stand_still
from adamcompat.tensorflow.construction import construct
from adamcompat.tensorflow.hooks import Hooks
from adamcompat.tensorflow.whole import EagerStep, begin

_DIALECT = MAPPING.dialects["tf26"]
_SLOTS = moments_of(_DIALECT)


class LegacyAdam(tf_keras.optimizers.legacy.Adam):  # type: ignore[misc]
    """Base of the drop-in; use `adamcompat.tensorflow.legacy.Adam`."""

    _adapter: ClassVar[str]
    # The eager step that is being made.
    __step: EagerStep | None = None

    def __init__(self, given: dict[str, Any], extra: dict[str, Any]) -> None:
        construct(MAPPING.adapter("tensorflow_legacy", self._adapter), super().__init__, {**given, **extra})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            tf_keras.saving.register_keras_serializable(package="adamcompat.legacy")(cls)

    def __repr__(self) -> str:
        """Return the text for the error of Keras 3's `compile`, which takes only optimizers of its own."""
        if tf.keras.optimizers.Adam.__module__.startswith("tf_keras"):
            return str(super().__repr__())
        return (
            "<adamcompat.tensorflow.legacy.Adam: an optimizer of tf_keras, for custom training loops and for models "
            "of tf_keras. For Keras 3's compile use adamcompat.tensorflow.Adam(fused=True), which rounds alike, or "
            "set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported>"
        )

    def add_slot(self, var: Any, slot_name: str, initializer: Any = "zeros", shape: Any = None) -> Any:
        """Add a state variable, as the original does.

        The moments of bfloat16 variables that would stand still are kept in float32.

        Args:
            var: the variable that the state belongs to.
            slot_name: names the kind of state: ``"m"``, ``"v"`` or ``"vhat"``.
            initializer: gives the initial values: its name, a function, or a tensor.
            shape: of the state; None stands for the variable's.

        Returns:
            The new variable, or the one that there is.
        """
        if var.dtype != tf.bfloat16 or not stand_still(self._get_hyper("beta_1"), self._get_hyper("beta_2")):
            return super().add_slot(var, slot_name, initializer, shape)
        with tf.variable_creator_scope(operations.in_float32):
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
            name: of the operation; None stands for the optimizer's name.
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
        plain = super().apply_gradients

        def make() -> Any:
            return plain(pairs, name, experimental_aggregate_gradients)

        step = begin()
        if step is None:
            return make()
        self.__step = step
        try:
            return step.run(make, make)
        finally:
            self.__step = None

    def _distributed_apply(self, distribution: Any, grads_and_vars: Any, apply_state: Any, name: Any) -> Any:
        pairs, step = list(grads_and_vars), self.__step
        if step is not None:
            # Not `iterations`, which may be overridden.
            step.count([self._iterations])
            if not self.__only_kernels(variable for _, variable in pairs):
                step.keep_everything([*(variable for _, variable in pairs), *self.weights])
        return super()._distributed_apply(distribution, pairs, apply_state, name)

    def __only_kernels(self, variables: Iterable[Any]) -> bool:
        """Return whether a step runs nothing but kernels, so that it may be taken up again where it was interrupted."""
        given = [value for value in self._hyper.values() if callable(value) and not isinstance(value, tf.Variable)]
        return (
            _UPDATE.untouched(self)
            and not self.gradient_transformers
            and self.gradient_aggregator is _AGGREGATOR
            and all(type(value).__module__.startswith("tf_keras.") for value in given)
            and all(variable.constraint is None for variable in variables)
        )

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
            if gradient is not None and tf.executing_eagerly():
                check_gradient(gradient, variable)
        return pairs

    def __once(self, variable: Any, apply: Callable[[], Any], operations: int) -> Any:
        if self.__step is None:
            return apply()
        slots = (self.get_slot(variable, name) for name in self.get_slot_names())
        return self.__step.once(variable, slots, apply, operations=operations)

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        if self.__widened(var):
            return self.__once(var, lambda: self.__apply_in_float32(grad, var), 3)
        plain = super()._resource_apply_dense
        return self.__once(var, lambda: plain(grad, var, apply_state), 1)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        if self.__widened(var):
            dense = sparse.dense(tf.IndexedSlices(grad, indices), var.shape)
            return self.__once(var, lambda: self.__apply_in_float32(dense, var), 3)
        plain = super()._resource_apply_sparse
        return self.__once(var, lambda: plain(grad, var, indices, apply_state), 3)

    def __widened(self, variable: Any) -> bool:
        """Return whether a bfloat16 variable has moments in float32, because it would stand still."""
        return bool(variable.dtype == tf.bfloat16 != self.get_slot(variable, _SLOTS.m).dtype)

    def __apply_in_float32(self, gradient: Any, variable: Any) -> Any:
        kind = tf.float32
        hyper = terms.Hyper(
            self._decayed_lr(kind), self._get_hyper("beta_1", kind), self._get_hyper("beta_2", kind), self.epsilon
        )
        m, v = (self.get_slot(variable, name) for name in (_SLOTS.m, _SLOTS.v))
        row = terms.Row(variable, gradient, m, v, self.get_slot(variable, _SLOTS.vhat) if self.amsgrad else None)
        numerics = MAPPING.numerics[_DIALECT.numerics]
        values = terms.scalars(numerics, hyper, self.iterations + 1, kind)
        return tf.group(*update.update_one(row, values))


# The methods of tf_keras that update variables.
_UPDATE = Hooks(tf_keras.optimizers.legacy.Adam, LegacyAdam, ("_distributed_apply",))
_AGGREGATOR = tf_keras.optimizers.legacy.Adam().gradient_aggregator


def _held(variable: Any) -> Any:
    held = getattr(variable, "value", variable)
    return held if isinstance(held, tf.Variable) else variable
