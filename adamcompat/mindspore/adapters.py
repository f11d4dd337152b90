# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""Adapters for MindSpore: the exact signature of each dialect."""

from __future__ import annotations

from typing import Any

from adamcompat.mindspore.arguments import Decay, LearningRate, Parameters
from adamcompat.mindspore.call import CallAdam

__all__ = [
    "Adam",
]


class Adam(CallAdam):
    """Adam as MindSpore calls it, on MindSpore's Parameters, which are updated in place.

    The call is that of mindspore.nn.Adam (MindSpore 2.7 to 2.10)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        params: The arrays to update, in place. A list of parameters, or of groups (dictionaries).
            Required.
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. In [0, inf). Default: 0.001.
        beta1: Exponential decay rate of the first moment. In (0, 1). Default: 0.9.
        beta2: Exponential decay rate of the second moment. In (0, 1). Default: 0.999.
        eps: Added to the square root of the second moment ("epsilon hat" of the paper, not the epsilon
            of its Algorithm 1). In (0, inf). Default: 1e-08.
        use_locking: Hold a lock during a step, so that several threads may share one optimizer.
            Default: False.
        use_nesterov: Use beta1*m + (1-beta1)*g as the numerator (Nesterov's look-ahead; not the update
            of Keras's Nadam). Default: False.
        weight_decay: L2 weight decay: weight_decay times the parameter is added to the gradient, so it
            passes through the moments. Parameters that are not grouped are skipped when their name
            contains beta or gamma. In [0, inf). Default: 0.0.
        loss_scale: Gradients are divided by this factor, which the loss was multiplied with. In (0,
            inf). Default: 1.0.
        use_amsgrad: Divide by the largest second moment seen so far instead of the current one.
            Default: False.
        use_lazy: For gradients that hold some rows only, leave the other rows and their moments
            untouched. Default: False.
        use_offload: Run the update on the host CPU. NumPy arrays are always updated there. Default:
            False.

    Keys of a parameter group:
        params: The parameters of one group. Required.
        lr: Learning rate of one group. In [0, inf). Default: None.
        weight_decay: L2 weight decay of one group. In [0, inf). Default: None.
        grad_centralization: Subtract from each gradient of the group its mean over all axes but the
            first (gradients with at least two axes). Default: False.
        order_params: The order in which gradients are passed, as a list of all parameters, alone in its
            group. Default: None.

    A callable is a LearningRateSchedule (learning rate) or a Cell (weight decay); a list may
    also be a one-dimensional Tensor. Where mindspore.nn.Adam differs: it skips or cannot run
    grad_centralization on a CPU, cannot update float64 and bfloat16, drops use_nesterov beside
    use_amsgrad, and in PYNATIVE mode stops training when a parameter is loaded after the first step.
    A function of your own under mindspore.jit keeps, in PYNATIVE mode, the memory that it saw first,
    with any optimizer and with none: load into it with `parameter.copy_`, not with `set_data`.

    Raises:
        KeyError: unknown keyword.
        TypeError: wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import numpy as np
        >>> from mindspore import Parameter, Tensor
        >>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
        >>> optimizer = Adam([weight])
        >>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
        (True,)
        >>> weight.asnumpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "Adam"

    def __init__(
        self,
        params: Parameters,
        learning_rate: LearningRate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-08,
        use_locking: bool = False,
        use_nesterov: bool = False,
        weight_decay: Decay = 0.0,
        loss_scale: float = 1.0,
        use_amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "params": params,
                "learning_rate": learning_rate,
                "beta1": beta1,
                "beta2": beta2,
                "eps": eps,
                "use_locking": use_locking,
                "use_nesterov": use_nesterov,
                "weight_decay": weight_decay,
                "loss_scale": loss_scale,
                "use_amsgrad": use_amsgrad,
            },
            kwargs,
        )
