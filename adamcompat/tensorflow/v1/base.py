"""TensorFlow 1's Adam, with AMSGrad and Nesterov's look-ahead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import tensorflow as tf

from adamcompat.hyperparameters import exception
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import operations, sparse, terms, update
from adamcompat.tensorflow.arguments import check_gradient, dialect_of, moments_of, stand_still
from adamcompat.tensorflow.construction import construct
from adamcompat.tensorflow.hooks import Hooks
from adamcompat.tensorflow.whole import EagerStep, begin

_DIALECT = MAPPING.dialects["tf1"]
_SLOTS = moments_of(_DIALECT)


def _known_here(arguments: dict[str, Any], dialect: Dialect, original: Callable[..., None]) -> dict[str, Any]:
    """Return the arguments that the installed TensorFlow takes; what an older one lacks must be at its default.

    Args:
        arguments: by name; changed in place.
        dialect: the facts of the original.
        original: the original's constructor.

    Raises:
        TypeError (or what the dialect raises): an argument that it lacks is not at its default.
    """
    known = inspect.signature(original).parameters
    for name in [name for name in arguments if name not in known]:
        fact = dialect.find(name)
        if fact is None or arguments[name] != fact.default:
            raise exception(dialect.errors.unknown_keyword)(
                f"{name}={arguments[name]!r}: TensorFlow {tf.__version__} has no such parameter; leave it out"
            )
        del arguments[name]
    return arguments


class V1Adam(tf.compat.v1.train.AdamOptimizer):  # type: ignore[misc]
    """Base of the drop-in; use `adamcompat.tensorflow.v1.AdamOptimizer`."""

    _adapter: ClassVar[str]
    # The eager step that is being made, and its variables.
    __step: EagerStep | None = None
    __stepped: tuple[Any, ...] = ()

    def __init__(
        self,
        given: dict[str, Any],
        extra: dict[str, Any],
        *,
        amsgrad: bool,
        use_nesterov: bool,
    ) -> None:
        adapter = MAPPING.adapter("tensorflow_v1", self._adapter)
        errors = dialect_of(adapter).errors
        for name, value in (("amsgrad", amsgrad), ("use_nesterov", use_nesterov)):
            if not isinstance(value, bool):
                raise exception(errors.wrong_type)(f"{name} must be True or False, got {value!r}")
        if amsgrad and use_nesterov:
            raise exception(errors.conflict)(
                "amsgrad and use_nesterov exclude each other: TensorFlow has no such update; set only one"
            )
        arguments = _known_here({**given, **extra}, dialect_of(adapter), super().__init__)
        construct(adapter, super().__init__, arguments)
        self.__amsgrad = amsgrad
        self.__nesterov = use_nesterov

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Any = None, name: str | None = None
    ) -> Any:
        """Update variables with their gradients, as tf.compat.v1.train.AdamOptimizer does.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and its variable.
            global_step: a variable that is one more after the step, or None.
            name: of the operation; None stands for the optimizer's name.

        Returns:
            The operation to run in a Session; in eager execution whatever the original returns.

        Raises:
            ValueError: no gradient at all.
            InvalidArgumentError: in eager execution, a gradient does not fit its variable.
        """
        pairs, plain, step = tuple(grads_and_vars), super().apply_gradients, begin([global_step])
        if step is None:
            return plain(pairs, global_step, name)
        for gradient, variable in pairs if _UPDATE.untouched(self) else ():
            if gradient is not None:
                check_gradient(gradient, variable)

        def make() -> Any:
            return plain(pairs, global_step, name)

        self.__step, self.__stepped = step, tuple(variable for gradient, variable in pairs if gradient is not None)
        try:
            return step.run(make, make)
        finally:
            self.__step, self.__stepped = None, ()

    def _prepare(self) -> None:
        super()._prepare()
        if self.__step is not None:
            given = (self._lr, self._beta1, self._beta2, self._epsilon)
            owned = any(variable.constraint is not None for variable in self.__stepped)
            if owned or any(map(callable, given)) or not _UPDATE.untouched(self):
                # Somebody's own code is part of the step.
                self.__step.keep_everything([*self.__stepped, *self.variables()])
            # Not `_get_beta_accumulators`, which may be overridden.
            self.__step.keep("powers", list(self._non_slot_dict.values()))

    def __once(self, variable: Any, apply: Callable[[], Any], operations: int) -> Any:
        if self.__step is None:
            return apply()
        slots = (self.get_slot(variable, name) for name in self.get_slot_names())
        return self.__step.once(variable, slots, apply, operations=operations)

    def _create_slots(self, var_list: Any) -> None:
        super()._create_slots(var_list)
        for variable in var_list:
            if self.__amsgrad:
                self._zeros_slot(variable, _SLOTS.vhat, self._name)

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Any:
        if var.dtype.base_dtype != tf.bfloat16 or not stand_still(self._beta1, self._beta2):
            return super()._zeros_slot(var, slot_name, op_name)
        # In bfloat16 the second moment would stay as it is.
        return self._get_or_make_slot(var, tf.zeros(var.shape, tf.float32), slot_name, op_name)

    def __arguments(self, gradient: Any, variable: Any) -> dict[str, Any]:
        """Return what both fused kernels take; the gradient in the variable's dtype: another aborts the process."""
        kind = variable.dtype.base_dtype
        power1, power2 = self._get_beta_accumulators()
        return {
            "beta1_power": tf.cast(power1, kind),
            "beta2_power": tf.cast(power2, kind),
            "lr": tf.cast(self._lr_t, kind),
            "beta1": tf.cast(self._beta1_t, kind),
            "beta2": tf.cast(self._beta2_t, kind),
            "epsilon": tf.cast(self._epsilon_t, kind),
            "grad": tf.cast(gradient, kind),
            "use_locking": self._use_locking,
        }

    def __widened(self, variable: Any) -> bool:
        """Return whether a bfloat16 variable has moments in float32, because it would not train."""
        kind = variable.dtype.base_dtype
        return bool(kind == tf.bfloat16 != self.get_slot(variable, _SLOTS.m).dtype.base_dtype)

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        if self.__widened(var):
            return self.__once(var, lambda: self.__apply_traced(grad, var), 3)
        arguments = self.__arguments(grad, var)
        m, v = (self.get_slot(var, name).handle for name in (_SLOTS.m, _SLOTS.v))
        handles = {"var": var.handle, "m": m, "v": v}
        if self.__amsgrad:
            kernel = tf.raw_ops.ResourceApplyAdamWithAmsgrad
            arguments["vhat"] = self.get_slot(var, _SLOTS.vhat).handle
        else:
            kernel = tf.raw_ops.ResourceApplyAdam
            arguments["use_nesterov"] = self.__nesterov
        return self.__once(var, lambda: kernel(**handles, **arguments), 1)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        if self.__amsgrad:
            raise NotImplementedError(
                f"amsgrad needs resource variables, and {var.name} is a reference variable; create it with "
                f"use_resource=True, or call tf.compat.v1.enable_resource_variables() first"
            )
        if not self.__nesterov:
            return super()._apply_dense(tf.cast(grad, var.dtype.base_dtype), var)
        m, v = (self.get_slot(var, name)._ref() for name in (_SLOTS.m, _SLOTS.v))
        return tf.raw_ops.ApplyAdam(use_nesterov=True, var=var._ref(), m=m, v=v, **self.__arguments(grad, var)).op

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> Any:
        if self.__amsgrad or self.__nesterov or self.__widened(var):
            dense = sparse.dense(tf.IndexedSlices(grad, indices), var.shape)
            return self.__once(var, lambda: self.__apply_traced(dense, var), 3)
        plain, values = super()._resource_apply_sparse, tf.cast(grad, var.dtype.base_dtype)
        return self.__once(var, lambda: plain(values, var, indices), 3)

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        if self.__amsgrad or self.__nesterov:
            return self._apply_dense(sparse.dense(grad, var.shape), var)
        return super()._apply_sparse(grad, var)

    def __apply_traced(self, gradient: Any, variable: Any) -> Any:
        """Update a variable where the kernels do not do it; in float32 for bfloat16.

        Args:
            gradient: a dense tensor.
            variable: the variable.

        Returns:
            The operation that writes it and its state.
        """
        kind = operations.arithmetic(variable.dtype.base_dtype)
        m, v = (self.get_slot(variable, name) for name in (_SLOTS.m, _SLOTS.v))
        row = terms.Row(variable, gradient, m, v, self.get_slot(variable, _SLOTS.vhat) if self.__amsgrad else None)
        numerics = MAPPING.numerics[_DIALECT.numerics]
        power1, power2 = (tf.cast(power, kind) for power in self._get_beta_accumulators())
        hyper = terms.Hyper(self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        values = terms.scalars(numerics, hyper, None, kind, running=(power1, power2))
        beta1 = tf.cast(self._beta1_t, kind) if self.__nesterov else None
        return tf.group(*update.update_one(row, values, beta1))


# The methods of TensorFlow that make a step.
_UPDATE = Hooks(tf.compat.v1.train.AdamOptimizer, V1Adam, ("apply_gradients",))
