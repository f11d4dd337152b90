# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""The adapter for tf.keras: the exact signature of Keras 3."""

from __future__ import annotations

from typing import Any

from adamcompat.tensorflow.base import KerasAdam
from adamcompat.tensorflow.hints import Beta, LearningRate

__all__ = [
    "Adam",
]


class Adam(KerasAdam):  # type: ignore[misc]
    """Adam as Keras 3 calls it, on TensorFlow variables, which are updated in place.

    The call is that of keras.optimizers.Adam (TensorFlow 2.16 to 2.21)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. Default: 0.001.
        beta_1: Exponential decay rate of the first moment. In [0, 1). Default: 0.9.
        beta_2: Exponential decay rate of the second moment. In [0, 1). Default: 0.999.
        epsilon: Added to the square root of the second moment ("epsilon hat" of the paper, not the
            epsilon of its Algorithm 1). In [0, inf). Default: 1e-07.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        weight_decay: Decoupled weight decay: before the update each parameter loses weight_decay *
            learning_rate of itself; the moments never see it. Reaches every parameter, except those
            named in exclude_from_weight_decay(). In [0, inf). Default: None.
        clipnorm: Each gradient is scaled down to at most this L2 norm. In (0, inf). Default: None.
        clipvalue: Each element of a gradient is clipped to at most this magnitude. In (0, inf).
            Default: None.
        global_clipnorm: All gradients together are scaled down to at most this L2 norm. In (0, inf).
            Default: None.
        use_ema: Keep an exponential moving average of the parameters. Default: False.
        ema_momentum: Weight of the old average; the parameter enters with 1 - ema_momentum. In [0, 1].
            Default: 0.99.
        ema_overwrite_frequency: Every so many steps the parameters are overwritten by their average. In
            [1, inf). Default: None.
        loss_scale_factor: Gradients are divided by this factor, which the loss was multiplied with. In
            (0, inf). Default: None.
        gradient_accumulation_steps: Gradients are averaged over this many calls before one update is
            made. In [2, inf). Default: None.
        name: A label. Default: None.
        fused: True: TensorFlow's own fused kernel, rounding as TensorFlow 2.6 does. None or False:
            Keras 3's bits. Default: None.

    Raises:
        ValueError: unknown keyword, wrong type, out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = Adam()
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4).tolist()
        [0.9990000128746033, 2.000999927520752]

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "Adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: Beta = 0.9,
        beta_2: Beta = 0.999,
        epsilon: float = 1e-07,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        fused: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "learning_rate": learning_rate,
                "beta_1": beta_1,
                "beta_2": beta_2,
                "epsilon": epsilon,
                "amsgrad": amsgrad,
                "weight_decay": weight_decay,
                "clipnorm": clipnorm,
                "clipvalue": clipvalue,
                "global_clipnorm": global_clipnorm,
                "use_ema": use_ema,
                "ema_momentum": ema_momentum,
                "ema_overwrite_frequency": ema_overwrite_frequency,
                "loss_scale_factor": loss_scale_factor,
                "gradient_accumulation_steps": gradient_accumulation_steps,
                "name": name,
            },
            kwargs,
            fused=fused,
        )
