# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.
# ruff: noqa: E501, RUF100
"""The adapter for tf.keras: the exact signature of Keras 3."""

from __future__ import annotations

from typing import Any

from adamcompat.tensorflow.arguments import Beta, Decay, LearningRate, Parameters
from adamcompat.tensorflow.base import KerasAdam, KerasAdamW, KerasCallAdam, KerasStepAdam

__all__ = [
    "Adam",
    "AdamW",
    "MindSporeStyleAdam",
    "MindSporeStyleAdamWeightDecay",
    "TorchStyleAdam",
    "TorchStyleAdamW",
]


class Adam(KerasAdam):  # type: ignore[misc]
    """Adam as Keras 3 calls it, on TensorFlow variables, which are updated in place.

    The call is that of keras.optimizers.Adam (TensorFlow 2.16 to 2.21)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate weight_decay p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. Default: 0.001.
        beta_1: Exponential decay rate of the first moment. In [0, 1). Default: 0.9.
        beta_2: Exponential decay rate of the second moment. In [0, 1). Default: 0.999.
        epsilon: Added to the square root of the second moment, so that nothing is divided by zero. It
            is the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In [0, inf). Default:
            1e-07.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        weight_decay: Decoupled weight decay: before the update each parameter loses weight_decay *
            learning_rate of itself; the moments never see it. Reaches every parameter, except those
            named in exclude_from_weight_decay(). In [0, inf). Default: None.
        clipnorm: Each gradient is scaled down to at most this L2 norm. In (0, inf). Default: None; 0.0
            means it too.
        clipvalue: Each element of a gradient is clipped to at most this magnitude. In (0, inf).
            Default: None; 0.0 means it too.
        global_clipnorm: All gradients together are scaled down to at most this L2 norm. In (0, inf).
            Default: None; 0.0 means it too.
        use_ema: Keep an exponential moving average of the parameters. Default: False.
        ema_momentum: Weight of the old average; the parameter enters with 1 - ema_momentum. In [0, 1].
            Default: 0.99.
        ema_overwrite_frequency: Every so many steps the parameters are overwritten by their average. In
            [1, inf). Default: None; 0 means it too.
        loss_scale_factor: Gradients are divided by this factor, which the loss was multiplied with. In
            (0, inf). Default: None.
        gradient_accumulation_steps: Gradients are averaged over this many calls before one update is
            made. In [2, inf). Default: None; 0 means it too.
        name: A label. Default: None.
        fused: True: TensorFlow's own fused kernel, rounding as TensorFlow 2.6 does. None or False:
            Keras 3's bits. Default: None.
        corrections: Whether to mend what the original gets wrong without a word: repeated rows of a
            sparse gradient enter the second moment one by one, as 1² + 2² instead of (1 + 2)²
            (repeated_rows: repeated rows add up first). None: as `adamcompat.install(corrections=...)`
            says, otherwise not. Default: None.

    Raises:
        ValueError: unknown keyword, wrong type, out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = Adam()
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    Algorithm 2.
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
        corrections: bool | None = None,
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
            corrections=corrections,
        )


class AdamW(KerasAdamW):  # type: ignore[misc]
    """AdamW as Keras 3 calls it, on TensorFlow variables, which are updated in place.

    The call is that of keras.optimizers.AdamW (TensorFlow 2.16 to 2.21)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate weight_decay p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

    Args:
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. Default: 0.001.
        weight_decay: Decoupled weight decay: before the update each parameter loses weight_decay *
            learning_rate of itself; the moments never see it. Reaches every parameter, except those
            named in exclude_from_weight_decay(). In [0, inf). Default: 0.004.
        beta_1: Exponential decay rate of the first moment. In [0, 1). Default: 0.9.
        beta_2: Exponential decay rate of the second moment. In [0, 1). Default: 0.999.
        epsilon: Added to the square root of the second moment, so that nothing is divided by zero. It
            is the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In [0, inf). Default:
            1e-07.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        clipnorm: Each gradient is scaled down to at most this L2 norm. In (0, inf). Default: None; 0.0
            means it too.
        clipvalue: Each element of a gradient is clipped to at most this magnitude. In (0, inf).
            Default: None; 0.0 means it too.
        global_clipnorm: All gradients together are scaled down to at most this L2 norm. In (0, inf).
            Default: None; 0.0 means it too.
        use_ema: Keep an exponential moving average of the parameters. Default: False.
        ema_momentum: Weight of the old average; the parameter enters with 1 - ema_momentum. In [0, 1].
            Default: 0.99.
        ema_overwrite_frequency: Every so many steps the parameters are overwritten by their average. In
            [1, inf). Default: None; 0 means it too.
        loss_scale_factor: Gradients are divided by this factor, which the loss was multiplied with. In
            (0, inf). Default: None.
        gradient_accumulation_steps: Gradients are averaged over this many calls before one update is
            made. In [2, inf). Default: None; 0 means it too.
        name: A label. Default: None.
        fused: True: TensorFlow's own fused kernel, rounding as TensorFlow 2.6 does. None or False:
            Keras 3's bits. Default: None.
        corrections: Whether to mend what the original gets wrong without a word: repeated rows of a
            sparse gradient enter the second moment one by one, as 1² + 2² instead of (1 + 2)²
            (repeated_rows: repeated rows add up first). None: as `adamcompat.install(corrections=...)`
            says, otherwise not. Default: None.

    Raises:
        ValueError: unknown keyword, wrong type, out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = AdamW()
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    Algorithm 2.
    """

    _adapter = "AdamW"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: Beta = 0.9,
        beta_2: Beta = 0.999,
        epsilon: float = 1e-07,
        amsgrad: bool = False,
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
        corrections: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "beta_1": beta_1,
                "beta_2": beta_2,
                "epsilon": epsilon,
                "amsgrad": amsgrad,
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
            corrections=corrections,
        )


class MindSporeStyleAdam(KerasCallAdam):  # type: ignore[misc]
    """Adam as MindSpore calls it, on TensorFlow variables, which are updated in place.

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
        eps: Added to the square root of the second moment, so that nothing is divided by zero. It is
            the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In (0, inf). Default:
            1e-08.
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
        numerics: How to round: "canonical", Scalars in float64, rounded once; the same bits under
            TensorFlow's and MindSpore's calls; "keras3", As keras.optimizers.Adam on TensorFlow;
            "tf26", As tf.keras.optimizers.Adam of TensorFlow 2.6 and its fused kernel; "tf1", As
            tf.compat.v1.train.AdamOptimizer; "mindspore", As mindspore.nn.Adam on a CPU with FMA;
            "mindspore_adamweightdecay", As mindspore.nn.AdamWeightDecay on a CPU with FMA;
            "mindspore_experimental", As mindspore.experimental.optim.Adam on a CPU with FMA;
            MindSpore's power is not always rounded right; "torch", As torch.optim.Adam on a CPU with
            FMA; its square root is not always rounded right. Default: "canonical".

    Keys of a parameter group:
        params: The parameters of one group. Required.
        lr: Learning rate of one group. In [0, inf). Default: None.
        weight_decay: Weight decay of one group, of the optimizer's kind. In [0, inf). Default: None.
        grad_centralization: Subtract from each gradient of the group its mean over all axes but the
            first (gradients with at least two axes). Default: False.
        order_params: The order in which gradients are passed, as a list of all parameters, alone in its
            group. Default: None.

    It is a Keras optimizer too, for compile() and fit(). A callable of the step gets it as a float64
    scalar tensor, so that it can be traced; a LearningRateSchedule of Keras gets what Keras gives it.
    With loss_scale, fit() multiplies the loss itself, through scale_loss().

    Raises:
        KeyError: unknown keyword.
        TypeError: wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = MindSporeStyleAdam([weight])
        >>> optimizer((tf.constant([0.5, -0.5]),))
        (True,)
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "MindSporeStyleAdam"

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
        *,
        numerics: str = "canonical",
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
            numerics=numerics,
        )


class MindSporeStyleAdamWeightDecay(KerasCallAdam):  # type: ignore[misc]
    """AdamWeightDecay as MindSpore calls it, on TensorFlow variables, which are updated in place.

    The call is that of mindspore.nn.AdamWeightDecay (MindSpore 2.7 to 2.10)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate (m / (sqrt(v) + epsilon) + weight_decay p)

    Args:
        params: The arrays to update, in place. A list of parameters, or of groups (dictionaries).
            Required.
        learning_rate: Step size. A number, a list with one value a step, or a callable of the step (0
            at the first step) or of nothing. In [0, inf). Default: 0.001.
        beta1: Exponential decay rate of the first moment. In (0, 1). Default: 0.9.
        beta2: Exponential decay rate of the second moment. In (0, 1). Default: 0.999.
        eps: Added to the square root of the second moment, so that nothing is divided by zero. It is
            the "epsilon hat" of the paper, not the epsilon of its Algorithm 1. In (0, inf). Default:
            1e-06.
        weight_decay: Decoupled weight decay: before the update each parameter loses weight_decay *
            learning_rate of itself; the moments never see it. Parameters that are not grouped are
            skipped when their name contains beta or gamma. In [0, inf). Default: 0.0.
        numerics: How to round: "canonical", Scalars in float64, rounded once; the same bits under
            TensorFlow's and MindSpore's calls; "keras3", As keras.optimizers.Adam on TensorFlow;
            "tf26", As tf.keras.optimizers.Adam of TensorFlow 2.6 and its fused kernel; "tf1", As
            tf.compat.v1.train.AdamOptimizer; "mindspore", As mindspore.nn.Adam on a CPU with FMA;
            "mindspore_adamweightdecay", As mindspore.nn.AdamWeightDecay on a CPU with FMA;
            "mindspore_experimental", As mindspore.experimental.optim.Adam on a CPU with FMA;
            MindSpore's power is not always rounded right; "torch", As torch.optim.Adam on a CPU with
            FMA; its square root is not always rounded right. Default: "canonical".

    Keys of a parameter group:
        params: The parameters of one group. Required.
        lr: Learning rate of one group. In [0, inf). Default: None.
        weight_decay: Weight decay of one group, of the optimizer's kind. In [0, inf). Default: None.
        order_params: The order in which gradients are passed, as a list of all parameters, alone in its
            group. Default: None.

    It is a Keras optimizer too, for compile() and fit(). A callable of the step gets it as a float64
    scalar tensor, so that it can be traced; a LearningRateSchedule of Keras gets what Keras gives it.
    With loss_scale, fit() multiplies the loss itself, through scale_loss().

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, conflict, unknown parameter, repeated parameter, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = MindSporeStyleAdamWeightDecay([weight])
        >>> optimizer((tf.constant([0.5, -0.5]),))
        (True,)
        >>> weight.numpy().round(4)
        array([0.9968, 2.0032], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    Algorithm 2.
    """

    _adapter = "MindSporeStyleAdamWeightDecay"

    def __init__(
        self,
        params: Parameters,
        learning_rate: LearningRate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-06,
        weight_decay: Decay = 0.0,
        *,
        numerics: str = "canonical",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "params": params,
                "learning_rate": learning_rate,
                "beta1": beta1,
                "beta2": beta2,
                "eps": eps,
                "weight_decay": weight_decay,
            },
            kwargs,
            numerics=numerics,
        )


class TorchStyleAdam(KerasStepAdam):  # type: ignore[misc]
    """Adam as PyTorch calls it, on TensorFlow variables, which are updated in place.

    The call is that of torch.optim.Adam (PyTorch 2.13)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)

    Args:
        params: The arrays to update, in place. Parameters, or groups (dictionaries), each with settings
            of its own. None: those of the model, or of the first step. Default: None.
        lr: Step size. A number, a list with one value a step, or a callable of the step (0 at the first
            step) or of nothing. In [0, inf). Default: 0.001.
        betas: [0]: Exponential decay rate of the first moment. [1]: Exponential decay rate of the
            second moment. In [0, 1). Default: (0.9, 0.999).
        eps: Added to the square root of the second moment, so that nothing is divided by zero. It is
            the epsilon of the paper's Algorithm 1: the second moment is corrected first. In [0, inf).
            Default: 1e-08.
        weight_decay: L2 weight decay: weight_decay times the parameter is added to the gradient, so it
            passes through the moments. In [0, inf). Default: 0.
        amsgrad: Divide by the largest second moment seen so far instead of the current one. Default:
            False.
        foreach: Accepted; changes nothing here. Default: None.
        maximize: Gradients are negated first, so that what they belong to grows. Default: False.
        capturable: Accepted as False alone. Default: False.
        differentiable: Accepted as False alone. Default: False.
        fused: Accepted; changes nothing here. Default: None.
        decoupled_weight_decay: The L2 weight decay is decoupled weight decay instead. Default: False.
        numerics: How to round: "canonical", Scalars in float64, rounded once; the same bits under
            TensorFlow's and MindSpore's calls; "keras3", As keras.optimizers.Adam on TensorFlow;
            "tf26", As tf.keras.optimizers.Adam of TensorFlow 2.6 and its fused kernel;
            "mindspore_experimental", As mindspore.experimental.optim.Adam on a CPU with FMA;
            MindSpore's power is not always rounded right; "torch", As torch.optim.Adam on a CPU with
            FMA; its square root is not always rounded right. Default: "canonical".

    It is a Keras optimizer, for compile() and fit(), apply_gradients(), tf.function and XLA, saving and
    loading: variables hold no gradients, so that there is no step() and no zero_grad(). The variables
    may be left out: then they are those of the model, or of the first apply_gradients(). A learning rate
    may also be a schedule of Keras, a list or a callable of the step, which gets it as a float64 scalar
    tensor. It can be set between steps, as optimizer.learning_rate or optimizer.param_groups[0]["lr"];
    the other settings cannot. A variable whose gradient is None is left out of a step and does not count
    it, as in PyTorch; Keras warns of it, and refuses a step without any gradient.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, unknown parameter, repeated parameter.
        RuntimeError: conflict, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = TorchStyleAdam(lr=1e-3)
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    """

    _adapter = "TorchStyleAdam"

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: Decay = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        numerics: str = "canonical",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {
                "params": params,
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "foreach": foreach,
                "maximize": maximize,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
            kwargs,
            numerics=numerics,
        )


class TorchStyleAdamW(KerasStepAdam):  # type: ignore[misc]
    """AdamW as PyTorch calls it, on TensorFlow variables, which are updated in place.

    The call is that of torch.optim.AdamW (PyTorch 2.13)::

        m <- m + (g - m) (1 - beta1)
        v <- v + (g^2 - v) (1 - beta2)
        p <- p - learning_rate weight_decay p - learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)

    Args:
        params: The arrays to update, in place. Parameters, or groups (dictionaries), each with settings
            of its own. None: those of the model, or of the first step. Default: None.
        lr: Step size. A number, a list with one value a step, or a callable of the step (0 at the first
            step) or of nothing. In [0, inf). Default: 0.001.
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
        foreach: Accepted; changes nothing here. Default: None.
        capturable: Accepted as False alone. Default: False.
        differentiable: Accepted as False alone. Default: False.
        fused: Accepted; changes nothing here. Default: None.
        numerics: How to round: "canonical", Scalars in float64, rounded once; the same bits under
            TensorFlow's and MindSpore's calls; "keras3", As keras.optimizers.Adam on TensorFlow;
            "tf26", As tf.keras.optimizers.Adam of TensorFlow 2.6 and its fused kernel;
            "mindspore_experimental", As mindspore.experimental.optim.Adam on a CPU with FMA;
            MindSpore's power is not always rounded right; "torch", As torch.optim.Adam on a CPU with
            FMA; its square root is not always rounded right. Default: "canonical".

    It is a Keras optimizer, for compile() and fit(), apply_gradients(), tf.function and XLA, saving and
    loading: variables hold no gradients, so that there is no step() and no zero_grad(). The variables
    may be left out: then they are those of the model, or of the first apply_gradients(). A learning rate
    may also be a schedule of Keras, a list or a callable of the step, which gets it as a float64 scalar
    tensor. It can be set between steps, as optimizer.learning_rate or optimizer.param_groups[0]["lr"];
    the other settings cannot. A variable whose gradient is None is left out of a step and does not count
    it, as in PyTorch; Keras warns of it, and refuses a step without any gradient.

    Raises:
        TypeError: unknown keyword, wrong type.
        ValueError: out of range, unknown parameter, repeated parameter.
        RuntimeError: conflict, wrong gradients.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([1.0, 2.0])
        >>> optimizer = TorchStyleAdamW(lr=1e-3)
        >>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
        >>> weight.numpy().round(4)
        array([0.999, 2.001], dtype=float32)

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
    Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
    Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    Algorithm 2.
    """

    _adapter = "TorchStyleAdamW"

    def __init__(
        self,
        params: Parameters | None = None,
        lr: LearningRate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: Decay = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        numerics: str = "canonical",
        **kwargs: Any,
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
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
            },
            kwargs,
            numerics=numerics,
        )
