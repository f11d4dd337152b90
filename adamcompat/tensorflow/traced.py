"""An eager step as one call of a traced function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import tensorflow as tf

from adamcompat.tensorflow import update
from adamcompat.tensorflow.arguments import is_tensor


class Traced:
    """Functions traced for one optimizer.

    Not part of the optimizer's state: an object of its own, so that Keras does not track it.

    Attributes:
        hyper: the hyperparameters of the step while it is being traced, otherwise None.
    """

    def __init__(self) -> None:
        self.hyper: update.Hyper | None = None
        self._functions: dict[Any, Any] = {}
        self._constants: dict[float, Any] = {}

    def _constant(self, value: Any) -> Any:
        """A float64 scalar tensor; Python's numbers are converted once."""
        if is_tensor(value):
            return tf.cast(tf.convert_to_tensor(value), tf.float64)
        value = float(value)
        if value not in self._constants:
            if len(self._constants) > 16:
                self._constants.clear()
            self._constants[value] = tf.constant(value, tf.float64)
        return self._constants[value]

    def function(
        self,
        key: tuple[Hashable, ...],
        function: Callable[[Sequence[Any], Sequence[Any]], Any],
        gradients: Sequence[Any],
        variables: Sequence[Any],
        raws: Sequence[Any],
        hyper: update.Hyper,
    ) -> Callable[[], Any] | None:
        """``function(gradients, variables)`` as one traced function.

        None when it is asked for the first time, since tracing takes longer than a step, and is worth
        it only for those who make another. Hyperparameters come in as tensors, so that setting one acts
        at once and traces nothing anew.

        Args:
            key: what tracing turns into constants.
            function: what to trace.
            gradients: one for each variable.
            variables: as `function` takes them.
            raws: the same as TensorFlow's variables.
            hyper: of this step; the learning rate as a tensor or a variable.
        """
        betas_and_epsilon = (self._constant(value) for value in hyper[1:])
        values = update.Hyper(tf.convert_to_tensor(hyper.learning_rate), *betas_and_epsilon)
        tensors = [
            gradient if isinstance(gradient, tf.Tensor) else update.dense(gradient, raw.shape)
            for gradient, raw in zip(gradients, raws, strict=True)
        ]
        key = (
            *key,
            tuple([raw._unique_id for raw in raws]),
            tuple([(tensor.dtype, tensor.shape) for tensor in tensors]),
            tuple([value.dtype for value in values]),
        )
        if key not in self._functions:
            if len(self._functions) > 8:
                self._functions.clear()
            self._functions[key] = None
            return None
        run = self._functions[key]
        if run is None:
            held = list(variables)

            def body(gradients: Sequence[Any], hyper: update.Hyper) -> None:
                self.hyper = hyper
                try:
                    function(gradients, held)
                finally:
                    self.hyper = None

            specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
            of_hyper = update.Hyper(*(tf.TensorSpec(value.shape, value.dtype) for value in values))
            run = tf.function(body, autograph=False).get_concrete_function(specs, of_hyper)
            self._functions[key] = run
        # What a call does, without checking the types of hundreds of tensors once more.
        return lambda: run._call_flat([*tensors, *values], run.captured_inputs)
