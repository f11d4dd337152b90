"""Terms of the update of TensorFlow's Adams: a variable with its state, and numbers that are rounded as theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from adamcompat.correction import make_correction
from adamcompat.kernel import Operations, make_update
from adamcompat.mapping.model import Form, Numerics
from adamcompat.tensorflow.operations import make_decoupled_decay


class Row(NamedTuple):
    """Hold one variable with its gradient and its state.

    Attributes:
        variable: the tf.Variable to update.
        gradient: of its shape; or IndexedSlices, whose rows are squared before those with the same index are added up.
        m: the variable with its first moment.
        v: the variable with its second moment.
        vhat: the variable with the maximum of its second moments, or None without AMSGrad.
        square: a tensor in place of the square of the gradient; None stands for the square itself.
    """

    variable: Any
    gradient: Any
    m: Any
    v: Any
    vhat: Any
    square: Any = None

    @property
    def targets(self) -> list[Any]:
        """Return the variables that an update changes: the variable itself first, and its state."""
        return [one for one in (self.variable, self.m, self.v, self.vhat) if one is not None]


class Hyper(NamedTuple):
    """Hold the hyperparameters of one step: numbers or scalar tensors.

    Attributes:
        learning_rate: the learning rate.
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).
        epsilon: epsilon hat, not negative.
        decoupled_weight_decay: the weight decay, or None where nothing decays.
    """

    learning_rate: Any
    beta1: Any
    beta2: Any
    epsilon: Any
    decoupled_weight_decay: Any = None


class Scalars(NamedTuple):
    """Hold what the formula needs of the hyperparameters, in one dtype.

    Attributes:
        alpha: the step size, learning rate times bias correction.
        c1: ``1 - beta1``.
        c2: ``1 - beta2``.
        epsilon: epsilon hat.
    """

    alpha: Any
    c1: Any
    c2: Any
    epsilon: Any


class Decay(NamedTuple):
    """Hold what decoupled weight decay multiplies a variable with, one after the other, in one dtype."""

    weight_decay: Any
    learning_rate: Any


def decay_of(hyper: Hyper, dtype: Any, *, product: bool = False) -> Decay:
    """Return the decay of one step, rounded as Keras rounds it: numbers of Python pass through float32.

    Args:
        hyper: the hyperparameters of this step.
        dtype: of the variables.
        product: whether the two scalars are multiplied first. In a graph that holds Keras's formula TensorFlow does so
            for variables of more than one element.
    """
    values = hyper.decoupled_weight_decay, hyper.learning_rate
    decay = Decay(*[tf.cast(tf.convert_to_tensor(value), dtype) for value in values])
    return Decay(decay.weight_decay * decay.learning_rate, 1.0) if product else decay


def number(value: Any, dtype: Any) -> Any:
    """Return a number as a scalar tensor; a Python number is rounded once (tf.cast would round it to float32 first)."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.convert_to_tensor(value, dtype)


def beta_of(beta: Any, dtype: Any) -> Any:
    """Return a beta in a dtype; all of TensorFlow's Adams round it to float32 first, even for float64 variables."""
    return tf.cast(number(beta, tf.float32), dtype)


def _complement(numerics: Numerics, beta: Any, dtype: Any) -> Any:
    if numerics.one_minus_beta == "float64":
        return tf.cast(1 - number(beta, tf.float64), dtype)
    return 1 - beta_of(beta, dtype)


def scalars(numerics: Numerics, hyper: Hyper, step: Any, dtype: Any, running: tuple[Any, Any] | None = None) -> Scalars:
    """Return the scalars of one step; for the formula see `correction.make_correction`.

    Args:
        numerics: how to round.
        hyper: the hyperparameters of this step.
        step: 1 at the first step. It is not looked at where `running` is given.
        dtype: the dtype to compute in.
        running: running products of both betas after this step, where they are kept; None stands for powers.

    Returns:
        Step size, ``1 - beta1``, ``1 - beta2`` and epsilon hat, in that dtype.
    """
    power1, power2 = powers(hyper, step, dtype) if running is None else running
    rate, epsilon = number(hyper.learning_rate, dtype), number(hyper.epsilon, dtype)
    alpha, epsilon = _correct(rate, epsilon, power1, power2, 1, tf.sqrt)
    return Scalars(
        alpha=alpha,
        c1=_complement(numerics, hyper.beta1, dtype),
        c2=_complement(numerics, hyper.beta2, dtype),
        epsilon=epsilon,
    )


def powers(hyper: Hyper, step: Any, dtype: Any) -> tuple[Any, Any]:
    """Return ``beta1**step`` and ``beta2**step``; the betas are rounded to float32 first.

    Args:
        hyper: the hyperparameters of this step.
        step: 1 at the first step.
        dtype: the dtype to compute in.

    Returns:
        Two scalar tensors of that dtype.
    """
    step = tf.cast(step, dtype)
    return tf.pow(beta_of(hyper.beta1, dtype), step), tf.pow(beta_of(hyper.beta2, dtype), step)


# Of the originals here, and of TensorFlow's own kernels.
_correct = make_correction(Form(epsilon="hat", bias_correction="both"))


def decaying_update(operations: Operations, decay: Decay | None) -> Callable[..., Any]:
    """Return the update, behind the decay of the variable where there is one.

    Args:
        operations: how values are multiplied, added and compared.
        decay: the numbers of the decay, or None.
    """
    update = make_update(operations)
    if decay is None:
        return update
    decayed = make_decoupled_decay(operations)
    return lambda p, *rest: update(decayed(p, *decay), *rest)
