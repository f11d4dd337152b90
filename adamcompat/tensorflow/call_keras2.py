"""The calling conventions of other frameworks as optimizers of tf_keras (TF_USE_LEGACY_KERAS=1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tf_keras

from adamcompat.pairs import split
from adamcompat.tensorflow.arguments import refuse_no_gradients
from adamcompat.tensorflow.call import CallAdam
from adamcompat.tensorflow.call_state import create
from adamcompat.tensorflow.step_call import StepAdam
from adamcompat.tensorflow.style import StyledAdam

if TYPE_CHECKING:
    from typing_extensions import Self


# Replicas count a step together.
_SHARED = tf.VariableAggregation.ONLY_FIRST_REPLICA


class Keras2StyledAdam(StyledAdam, tf_keras.optimizers.Optimizer):  # type: ignore[misc]
    """Share among the adapters on tf_keras that are called as another framework's optimizers are."""

    _library = "tf_keras"

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, numerics: str) -> None:
        # What tf_keras adds to every configuration.
        extra = {name: value for name, value in extra.items() if name != "is_legacy_optimizer"}
        private = self._checked(given, extra, numerics)
        super().__init__(name=self._adapter, jit_compile=False)
        rate = private.hyper.schedules["learning_rate"]
        if rate.constant:
            with tf.init_scope():
                self._learning_rate = tf.Variable(rate.at(0), dtype=tf.float64, trainable=False, name=rate.name)
            self._variables.append(self._learning_rate)
        self._private = private
        self._show()
        if private.arranged is not None:
            self.build(private.arranged.variables)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            tf_keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; done by the constructor where it is given the parameters.

        State that a copy or a pickle brought along is filled in.

        Args:
            var_list: the variables of the model, or the parameters.

        Raises:
            ValueError: a variable is none of the parameters, or a copy brought state for variables of other shapes.
        """
        private = self._private
        if getattr(self, "_built", False):
            self._ordered([None] * len(var_list), var_list)
            return
        if private.arranged is None:
            private.arranged = self._found(var_list)
        super().build(private.arranged.variables)
        create(private, self._dialect(), private.arranged, self._new_variable)
        self._built = True
        self._copied_fill(private.arranged.variables)

    def _new_variable(
        self, reference: Any, dtype: Any, name: str, shape: tuple[int, ...] = (), initial: Any = None
    ) -> Any:
        if reference is None:
            with tf.init_scope():
                value = tf.zeros(shape, dtype) if initial is None else tf.constant(initial, dtype, shape)
                made = tf.Variable(value, trainable=False, name=name, aggregation=_SHARED)
            self._variables.append(made)
            return made
        with tf.distribute.get_strategy().extended.colocate_vars_with(reference), tf.init_scope():
            return self.add_variable(reference.shape, dtype=dtype, name=name)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *args: Any, **kwargs: Any) -> Any:
        """Make one step, as Keras calls it.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and one of the parameters.
            args: more arguments of tf_keras's method.
            kwargs: the same by name.

        Returns:
            The step counter.

        Raises:
            TypeError, ValueError: a gradient or a variable does not fit; nothing has changed.
        """
        gradients, variables = split(grads_and_vars, self._error("wrong_gradients"))
        refuse_no_gradients(gradients)
        fitting = self._ordered(gradients, variables)
        step = super().apply_gradients
        return self._guarded(lambda: step(list(zip(fitting, variables, strict=True)), *args, **kwargs))

    def update_step(self, gradient: Any, variable: Any) -> None:
        """Update one variable, on one replica."""
        self._advance([gradient], [variable], alone=True)

    def _distributed_apply_gradients_fn(
        self, distribution: Any, grads_and_vars: Sequence[tuple[Any, Any]], **kwargs: Any
    ) -> Any:
        if tf.distribute.has_strategy():
            self._refuse_products()
            self._note_missed([self._index_dict[self._var_key(variable)] for _, variable in grads_and_vars])
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        gradients, variables = zip(*grads_and_vars, strict=True)
        self._advance(gradients, variables)
        return super()._distributed_apply_gradients_fn(distribution, [], **kwargs)

    def compute_gradients(self, loss: Any, var_list: Any, tape: Any = None) -> list[tuple[Any, Any]]:
        """Return gradients of a loss times the loss scale, by which a step divides them; fit() calls it.

        Args:
            loss: a tensor, or a function without arguments that returns one.
            var_list: variables, or a function without arguments that returns them.
            tape: the tf.GradientTape that recorded the loss. A function may go without.

        Returns:
            Pairs of a gradient, or None, and its variable.

        Raises:
            ValueError: the loss is a tensor, and there is no tape.
        """
        scale = self._private.hyper["loss_scale"]
        if scale == 1:
            found: list[tuple[Any, Any]] = super().compute_gradients(loss, var_list, tape)
            return found
        if callable(loss):
            with tape or tf.GradientTape() as tape:
                loss = loss()
        elif tape is None:
            raise ValueError("`tape` is required when a `Tensor` loss is passed: pass the tape that recorded it")
        variables = var_list() if callable(var_list) else list(var_list)
        seeds = tf.fill(tf.shape(loss), tf.cast(scale, loss.dtype))
        return list(zip(tape.gradient(loss, variables, output_gradients=seeds), variables, strict=True))

    def _compute_current_learning_rate(self) -> None:
        """Do nothing: tf_keras keeps the value of a schedule in a variable, this optimizer asks for it in each step."""

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a variable where it is a number, else its value for the next step."""
        if self._private.hyper.schedules["learning_rate"].constant:
            return self._learning_rate
        return self._current_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_learning_rate(value)

    def get_config(self) -> dict[str, Any]:
        """Return the hyperparameters under their own names, and the names of the parameters."""
        return self._configuration(tf_keras.saving.serialize_keras_object)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Return an optimizer without variables yet: `build`, or the model that it is loaded with, brings them.

        Args:
            config: a dictionary from `get_config`.
            custom_objects: classes and functions by name, for schedules that tf_keras does not know.
        """

        def deserialize(value: Any) -> Any:
            return tf_keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        return cls._from_configuration(dict(config), deserialize)


class Keras2CallAdam(CallAdam, Keras2StyledAdam):
    """Base of the adapters with MindSpore's call; use `adamcompat.tensorflow.MindSporeStyleAdam`."""


class Keras2StepAdam(StepAdam, Keras2StyledAdam):
    """Base of the adapters with PyTorch's settings; use `adamcompat.tensorflow.TorchStyleAdam`."""

    def build(self, var_list: Sequence[Any]) -> None:
        """Create the state; done by the constructor where it is given the parameters.

        Raises:
            ValueError: a variable is none of the parameters, or a copy brought state for variables of other shapes.
        """
        super().build(var_list)
        held = self._rate_variable()
        if held is None or "assign" in vars(held):
            return
        assign = held.assign

        def watched(value: Any, *args: Any, **kwargs: Any) -> Any:
            before = float(held) if tf.executing_eagerly() else None
            done = assign(value, *args, **kwargs)
            if before is None or float(held) != before:
                self._say_kept()
            return done

        # Callbacks of tf_keras set the variable, and no attribute of the optimizer.
        held.assign = watched
