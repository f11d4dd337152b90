# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""The adapter for tf.keras.optimizers.legacy: the exact signature of TensorFlow 2.6."""

from __future__ import annotations

from typing import Any

from adamcompat.tensorflow.arguments import Beta, LearningRate
from adamcompat.tensorflow.legacy.base import LegacyAdam

__all__ = [
    "Adam",
]


class Adam(LegacyAdam):
    """Adam as TensorFlow 2.6 calls it, on TensorFlow variables, which are updated in place.

    The call is that of tf.keras.optimizers.legacy.Adam (tf.keras.optimizers.Adam of TensorFlow 2.6; tf_keras.optimizers.legacy.Adam since 2.11)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. Default: 0.001.
        beta_1: Exponential decay rate of the first moment. In [0, 1). Default: 0.9.
        beta_2: Exponential decay rate of the second moment. In [0, 1). Default: 0.999.
        epsilon: Added to the square root of the second moment, so that nothing is divided by zero. It
            is the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In [0, inf). Default:
            1e-07; None and 0.0 mean it too.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        name: A label. Default: 'Adam'.
        clipnorm: Each gradient is scaled down to at most this L2 norm. In [0, inf). Default: None.
        clipvalue: Each element of a gradient is clipped to at most this magnitude. In [0, inf).
            Default: None.
        global_clipnorm: All gradients together are scaled down to at most this L2 norm. In [0, inf).
            Default: None.
        lr: Step size. A number, a list with one value a step, or a callable of the step (0 at the first
            step) or of nothing. Old name of learning_rate. In [0, inf). Default: None.
        decay: The learning rate is divided by 1 + decay * step. Not a weight decay. In [0, inf).
            Default: 0.0.
        gradient_aggregator: A function that adds up the gradients of replicas; from pairs of gradient
            and parameter it makes such pairs. Default: None.
        gradient_transformers: Functions that change the gradients before the update, one after another;
            each makes pairs of gradient and parameter from such pairs. Default: None.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = Adam()
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "Adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: Beta = 0.9,
        beta_2: Beta = 0.999,
        epsilon: float | None = 1e-07,
        amsgrad: bool = False,
        name: str = "Adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "learning_rate": learning_rate,
                "beta_1": beta_1,
                "beta_2": beta_2,
                "epsilon": epsilon,
                "amsgrad": amsgrad,
                "name": name,
            },
            kwargs,
        )
