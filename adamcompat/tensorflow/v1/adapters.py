# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""The adapter for tf.compat.v1: the exact signature of TensorFlow 1."""

from __future__ import annotations

from adamcompat.tensorflow.arguments import Beta, LearningRate
from adamcompat.tensorflow.v1.base import V1Adam

__all__ = [
    "AdamOptimizer",
]


class AdamOptimizer(V1Adam):
    """Adam as TensorFlow 1 calls it, on TensorFlow variables, which are updated in place.

    The call is that of tf.compat.v1.train.AdamOptimizer (TensorFlow 1.x; tf.compat.v1 of every TensorFlow 2)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. Default: 0.001.
        beta1: Exponential decay rate of the first moment. In [0, 1). Default: 0.9.
        beta2: Exponential decay rate of the second moment. In [0, 1). Default: 0.999.
        epsilon: Added to the square root of the second moment, so that nothing is divided by zero. It
            is the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In [0, inf). Default:
            1e-08.
        use_locking: Hold a lock during a step, so that several threads may share one optimizer.
            Default: False.
        name: A label. Default: 'Adam'.
        use_own_namescope_for_non_slot_vars: Name state that belongs to no single parameter outside the
            current name scope. Newer TensorFlow only. Default: False.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Not in the
            original. Default: False.
        use_nesterov: Use beta1*m + (1-beta1)*g as the numerator (Nesterov's look-ahead; not the update
            of Keras's Nadam). Not in the original. Default: False.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = AdamOptimizer()
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "AdamOptimizer"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta1: Beta = 0.9,
        beta2: Beta = 0.999,
        epsilon: float = 1e-08,
        use_locking: bool = False,
        name: str = "Adam",
        use_own_namescope_for_non_slot_vars: bool = False,
        *,
        amsgrad: bool = False,
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(
            {
                "learning_rate": learning_rate,
                "beta1": beta1,
                "beta2": beta2,
                "epsilon": epsilon,
                "use_locking": use_locking,
                "name": name,
                "use_own_namescope_for_non_slot_vars": use_own_namescope_for_non_slot_vars,
            },
            {},
            amsgrad=amsgrad,
            use_nesterov=use_nesterov,
        )
