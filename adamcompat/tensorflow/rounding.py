"""The numbers of a step and the update, traced with TensorFlow's operations and rounded as numerics say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from adamcompat import kernel
from adamcompat.correction import epsilon_moves, make_correction
from adamcompat.executors.contraction import Contraction
from adamcompat.kernel import Coefficients, Operations, given_epsilon, make_update
from adamcompat.mapping.model import Numerics
from adamcompat.program import Update
from adamcompat.tensorflow.operations import maximum, separate

# Of running products, whatever the variables are.
POWER_DTYPE = tf.as_dtype(kernel.POWER_DTYPE)


def _once(a: Any, b: Any, c: Any) -> Any:
    """Return ``a*b + c`` of float32 rounded once: a float32 product is exact in float64."""
    return tf.cast(_double(a) * _double(b) + _double(c), tf.float32)


def _double(x: Any) -> Any:
    return tf.cast(x, tf.float64)


def once(a: Any, b: Any, c: Any) -> Any:
    """Return ``a*b + c``, rounded once in float32; wider arithmetic is never contracted.

    Args:
        a: a floating-point tensor.
        b: a tensor of the same dtype.
        c: a tensor of the same dtype, which decides.
    """
    return _once(a, b, c) if c.dtype == tf.float32 else a * b + c


_FUSED = Operations(_once, lambda a, x, b, y: _once(a, x, b * y), tf.sqrt, maximum, lambda x: x, tf.multiply)
_TAIL = Operations(_once, lambda a, x, b, y: _once(b, y, a * x), tf.sqrt, maximum, _double, tf.multiply)


class Rounding:
    """Round as variables of one dtype are rounded.

    Args:
        numerics: how to round.
        dtype: of the variables; bfloat16 is computed in float32.
        update: the update of a program, with its hyperparameters.

    Attributes:
        arithmetic: the dtype of the update.
        around: the dtype of the stages around it.
        scalar: the dtype in which the learning rate is corrected.
    """

    def __init__(self, numerics: Numerics, dtype: Any, update: Update) -> None:
        own = np.dtype(np.float32 if dtype == tf.bfloat16 else dtype.as_numpy_dtype)
        self._numerics = numerics
        self._contraction = Contraction.of(numerics, own, amsgrad=update.amsgrad)
        self.arithmetic = tf.as_dtype(kernel.arithmetic_dtype(numerics, own))
        self.around = tf.as_dtype(kernel.stage_dtype(numerics, own))
        self.scalar = tf.as_dtype(kernel.scalar_dtype(numerics, own))
        given = np.float64 if numerics.given == "float64" else np.float32
        real, rates = self.scalar.as_numpy_dtype, (update.beta1, update.beta2)
        self._betas = tuple(POWER_DTYPE.as_numpy_dtype(beta) for beta in rates)
        self._bases = tuple(real(given(beta)) for beta in rates)
        with np.errstate(all="ignore"):
            self._epsilon = real(given_epsilon(numerics, update.epsilon))
        self._form = update.form
        self._decays = update.decays
        self._merged = numerics.correction == "step"
        # Everything but what `coefficients` computes is the same in every step.
        self._fixed = kernel.coefficients(
            numerics,
            own,
            learning_rate=0.0,
            beta1=update.beta1,
            beta2=update.beta2,
            epsilon=update.epsilon,
            step=1,
            nesterov=update.nesterov,
            form=update.form,
        )

    def powers(self, step: Any) -> tuple[Any, Any]:
        """Return ``beta1**step`` and ``beta2**step`` in the dtype `scalar`; the step is 1 at the first."""
        one, other = (tf.pow(tf.constant(beta, self.scalar), tf.cast(step, self.scalar)) for beta in self._bases)
        return one, other

    def advanced(self, powers: Sequence[Any], hide: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Return running products of the betas, multiplied once more.

        Args:
            powers: the products before, of dtype POWER_DTYPE.
            hide: takes a product and returns the same number, in a way that keeps it from compilers.
        """
        pairs = zip(powers, self._betas, strict=True)
        one, other = (hide(power * tf.constant(beta, POWER_DTYPE)) for power, beta in pairs)
        return one, other

    def coefficients(self, rate: Any, decay: Any, powers: tuple[Any, Any], hide: Callable[[Any], Any]) -> Coefficients:
        """Return the scalars of one step; for the formula see `correction.make_correction`.

        Args:
            rate: the learning rate, a float64 scalar.
            decay: the weight decay, a number or a float64 scalar; it is looked at where the update adds it.
            powers: ``beta1**step`` and ``beta2**step``.
            hide: takes a scalar and returns the same number, in a way that keeps it from compilers.

        Returns:
            Scalars of dtype `arithmetic`; None for those that the update does not have.
        """
        if self._numerics.given != "float64":
            rate = tf.cast(rate, tf.float32)
        power1, power2 = (tf.cast(power, self.scalar) for power in powers)
        epsilon = tf.constant(self._epsilon, self.scalar)
        correct = make_correction(self._form, merged=self._merged)
        rate = tf.cast(rate, self.scalar)
        scaled = tf.ones_like(rate) if self._decays else rate
        alpha, epsilon, *divisor = correct(scaled, epsilon, power1, power2, 1, tf.sqrt)
        fixed = {
            name: hide(tf.constant(getattr(self._fixed, name), self.arithmetic)) for name in ("c1", "c2", "epsilon")
        }
        if epsilon_moves(self._form, merged=self._merged):
            fixed["epsilon"] = tf.cast(epsilon, self.arithmetic)
        if divisor:
            fixed["root"] = tf.cast(divisor[0], self.arithmetic)
        if self._decays:
            added = decay if tf.is_tensor(decay) else tf.constant(decay, tf.float64)
            fixed |= {"rate": tf.cast(rate, self.arithmetic), "decay": hide(tf.cast(added, self.arithmetic))}
        for name in ("beta1", "beta2"):
            if (beta := getattr(self._fixed, name)) is not None:
                fixed[name] = hide(tf.constant(beta, self.arithmetic))
        return replace(self._fixed, alpha=tf.cast(alpha, self.arithmetic), **fixed)

    def update(
        self, p: Any, g: Any, m: Any, v: Any, vhat: Any, c: Coefficients, barrier: Callable[[Any], Any]
    ) -> tuple[Any, ...]:
        """Return a parameter and its state after the update; for the formula see `kernel.make_update`.

        Args:
            p: the parameter, a tensor of dtype `arithmetic`, as is everything else.
            g: its gradient.
            m: its first moment.
            v: its second moment.
            vhat: the maximum of its second moments for AMSGrad, or None.
            c: the scalars of the step.
            barrier: takes each product before it is added to something, and returns the same number. It may keep a
                compiler from contracting the two.

        Returns:
            The new parameter, first moment, second moment and maximum, or None in the place of the last. The parameter
            may be of a wider dtype, in which numerics finish the step.
        """
        scalars = (c.alpha, c.c1, c.c2, c.epsilon, c.beta1, None, c.rate, c.decay, c.lerp, c.beta2, c.root)
        if not self._contraction.fused:
            return make_update(separate(barrier))(p, g, m, v, vhat, *scalars)
        if not self._contraction.tail:
            return make_update(_FUSED)(p, g, m, v, vhat, *scalars)
        if self._contraction.joins:
            return make_update(_TAIL)(p, g, m, v, vhat, *scalars)
        shape, flat = tf.shape(p), [tf.reshape(x, [-1]) for x in (p, g, m, v)]
        size = p.shape.num_elements() if p.shape.is_fully_defined() else tf.size(p)
        cut = self._contraction.cut(size)
        body = make_update(_FUSED)(*(x[:cut] for x in flat), None, *scalars)
        tail = make_update(_TAIL)(*(x[cut:] for x in flat), None, *scalars)
        pairs = zip(body[:3], tail[:3], strict=True)
        joined = [tf.concat([one, tf.cast(other, one.dtype)], 0) for one, other in pairs]
        return (*(tf.reshape(x, shape) for x in joined), None)
