"""The calling conventions of other frameworks as optimizers of Keras 3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from adamcompat.mapping.model import release
from adamcompat.pairs import split
from adamcompat.tensorflow.arguments import raw, refuse_no_gradients
from adamcompat.tensorflow.call import CallAdam
from adamcompat.tensorflow.call_state import create
from adamcompat.tensorflow.keras3 import BEFORE_35, warn_of_drift
from adamcompat.tensorflow.step_call import StepAdam
from adamcompat.tensorflow.style import StyledAdam

if TYPE_CHECKING:
    from typing_extensions import Self

# From Keras 3.10 on, `apply` counts the step.
_COUNTED_HERE = release(keras.__version__) < (3, 10)
# Replicas count a step together.
_SHARED: dict[str, Any] = {} if BEFORE_35 else {"aggregation": "only_first_replica"}


class Keras3StyledAdam(StyledAdam, keras.optimizers.Optimizer):  # type: ignore[misc]
    """Share among the adapters on Keras 3 that are called as another framework's optimizers are."""

    if BEFORE_35:
        _iterations = property(attrgetter("iterations"))

    def __init__(self, given: dict[str, Any], extra: dict[str, Any], *, numerics: str) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(f"{self._adapter} needs Keras's TensorFlow backend; this is {keras.backend.backend()}")
        private = self._checked(given, extra, numerics)
        rate = private.hyper.schedules["learning_rate"]
        # Keras would keep a number in float32; a callable it keeps as it is.
        super().__init__(learning_rate=self._current_rate)
        if rate.constant:
            with keras.name_scope(self.name, caller=self):
                self._learning_rate = keras.Variable(
                    rate.at(0), dtype="float64", trainable=False, name=rate.name, aggregation="only_first_replica"
                )
        self._private = private
        self._show()
        if private.arranged is not None:
            self.build(private.arranged.variables)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("adamcompat."):
            keras.saving.register_keras_serializable(package="adamcompat")(cls)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the state; done by the constructor where it is given the parameters.

        State that a copy or a pickle brought along is filled in.

        Args:
            variables: the variables of the model, or the parameters.

        Raises:
            ValueError: a variable is none of the parameters, or a copy brought state for variables of other shapes.
        """
        private = self._private
        if self.built:
            self._ordered([None] * len(variables), variables)
            return
        if private.arranged is None:
            private.arranged = self._found(variables)
        super().build(private.arranged.variables)
        create(private, self._dialect(), private.arranged, self._new_variable)
        self._copied_fill(private.arranged.variables)

    def _new_variable(
        self, reference: Any, dtype: Any, name: str, shape: tuple[int, ...] = (), initial: Any = None
    ) -> Any:
        if reference is None:
            made = self.add_variable(shape, dtype=dtype, name=name, **_SHARED)
            if initial is not None:
                # An initializer of Keras would round it to float32.
                raw(made).assign(initial)
            return made
        with self._distribution_strategy.extended.colocate_vars_with(raw(reference)):
            return self.add_variable(reference.shape, dtype=dtype, name=name)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """Make one step, as Keras calls it.

        Args:
            grads_and_vars: pairs of a gradient (a tensor, IndexedSlices or None) and one of the parameters.

        Returns:
            The step counter.

        Raises:
            TypeError, ValueError: a gradient or a variable does not fit; nothing has changed.
        """
        gradients, variables = split(grads_and_vars, self._error("wrong_gradients"))
        self.apply(gradients, variables)
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Make one step.

        Args:
            grads: one gradient for each variable: a tensor, IndexedSlices or None.
            trainable_variables: the variables, in the same order; None stands for all parameters.

        Raises:
            TypeError, ValueError: a gradient or a variable does not fit; nothing has changed.
        """
        grads = list(grads)
        variables = list(self._private.variables if trainable_variables is None else trainable_variables)
        if len(grads) != len(variables):
            raise self._error("wrong_gradients")(f"got {len(grads)} gradients for {len(variables)} variables")
        refuse_no_gradients(grads)
        grads = self._ordered(grads, variables)
        step = super().apply
        self._guarded(lambda: step(grads, variables))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def _backend_apply_gradients(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        if tf.distribute.has_strategy():
            self._refuse_products()
            warn_of_drift()
            self._backend_update_step(grads, trainable_variables, None)
            self._note_missed([self._get_variable_index(variable) for variable in trainable_variables])
        else:
            self._advance(grads, trainable_variables)
        if _COUNTED_HERE:
            self._iterations.assign_add(1)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, on one replica.

        Args:
            gradient: a tensor or IndexedSlices.
            variable: the variable that it belongs to.
            learning_rate: not looked at; the optimizer asks for its own.
        """
        self._advance([gradient], [variable], alone=True)

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a variable where it is a number, else its value for the next step."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_learning_rate(value)

    def get_config(self) -> dict[str, Any]:
        """Return the hyperparameters under their own names, and the names of the parameters."""
        return self._configuration(keras.saving.serialize_keras_object)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Return an optimizer without variables yet: `build`, or the model that it is loaded with, brings them.

        Args:
            config: a dictionary from `get_config`.
            custom_objects: classes and functions by name, for schedules that Keras does not know.
        """

        def deserialize(value: Any) -> Any:
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        return cls._from_configuration(dict(config), deserialize)


class Keras3CallAdam(CallAdam, Keras3StyledAdam):
    """Base of the adapters with MindSpore's call; use `adamcompat.tensorflow.MindSporeStyleAdam`."""


class Keras3StepAdam(StepAdam, Keras3StyledAdam):
    """Base of the adapters with PyTorch's settings; use `adamcompat.tensorflow.TorchStyleAdam`."""
