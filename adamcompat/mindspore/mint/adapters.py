# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""Adapters for mindspore.mint.optim: the exact signature of each class."""

from __future__ import annotations

from adamcompat.mindspore.arguments import Parameters, Rate
from adamcompat.mindspore.mint.base import MintAdam, MintAdamW

__all__ = [
    "Adam",
    "AdamW",
]


class Adam(MintAdam):
    """Adam as MindSpore mint calls it, on MindSpore's Parameters, which are updated in place.

    The call is that of mindspore.mint.optim.Adam (MindSpore 2.10, read from its source; not measured here)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)

    Args:
        params: The arrays to update, in place. Parameters, or groups (dictionaries), each with settings
            of its own. Required.
        lr: Step size. A number. In [0, inf). Default: 0.001.
        betas: [0]: Exponential decay rate of the first moment. [1]: Exponential decay rate of the
            second moment. In [0, 1). Default: (0.9, 0.999).
        eps: Added to the square root of the second moment, so that nothing is divided by zero. It is
            the epsilon of the paper's Algorithm 1: the second moment is corrected first. In [0, inf).
            Default: 1e-08.
        weight_decay: L2 weight decay: weight_decay times the parameter is added to the gradient, so it
            passes through the moments. In [0, inf). Default: 0.0.
        amsgrad: Divide by the largest second moment seen so far instead of the current one.
            mindspore.mint.optim.Adam ignores it; here it is done, and said once. Default: False.
        maximize: Gradients are negated first, so that what they belong to grows. Default: False.

    A group may hold each of these. On Ascend the original makes the steps. Elsewhere, where it updates
    nothing or fails, the steps are this package's, in canonical rounding; they were compared with PyTorch's,
    and not with Ascend's.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import numpy as np
        >>> from mindspore import Parameter, Tensor
        >>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
        >>> optimizer = Adam([weight], weight_decay=0.0)
        >>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
        True
        >>> weight.asnumpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "Adam"

    def __init__(
        self,
        params: Parameters,
        lr: Rate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            {
                "params": params,
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
            {},
        )


class AdamW(MintAdamW):
    """AdamW as MindSpore mint calls it, on MindSpore's Parameters, which are updated in place.

    The call is that of mindspore.mint.optim.AdamW (MindSpore 2.10, read from its source; not measured here)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate weight_decay p - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)

    Args:
        params: The arrays to update, in place. Parameters, or groups (dictionaries), each with settings
            of its own. Required.
        lr: Step size. A number. In [0, inf). Default: 0.001.
        betas: [0]: Exponential decay rate of the first moment. [1]: Exponential decay rate of the
            second moment. In [0, 1). Default: (0.9, 0.999).
        eps: Added to the square root of the second moment, so that nothing is divided by zero. It is
            the epsilon of the paper's Algorithm 1: the second moment is corrected first. In [0, inf).
            Default: 1e-08.
        weight_decay: Decoupled weight decay: before the update each parameter loses weight_decay *
            learning_rate of itself; the moments never see it. In [0, inf). Default: 0.01.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        maximize: Gradients are negated first, so that what they belong to grows. Default: False.

    A group may hold each of these. On Ascend the original makes the steps. Elsewhere, where it updates
    nothing or fails, the steps are this package's, in canonical rounding; they were compared with PyTorch's,
    and not with Ascend's.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import numpy as np
        >>> from mindspore import Parameter, Tensor
        >>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
        >>> optimizer = AdamW([weight], weight_decay=0.0)
        >>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
        True
        >>> weight.asnumpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    Algorithm 2.
    """

    _adapter = "AdamW"

    def __init__(
        self,
        params: Parameters,
        lr: Rate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            {
                "params": params,
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
            {},
        )
