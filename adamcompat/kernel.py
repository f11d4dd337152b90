"""Define Adam's update, written once; its bias correction stands in `correction`.

`make_update` builds the update from a handful of operations. The function it returns has no
loops and no types: it runs on NumPy arrays, is compiled to one fused pass by Numba, and can be
traced by a graph compiler. How the operations round is the only difference between them.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), the efficient form
before Section 2.1; AMSGrad: Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from adamcompat.correction import epsilon_moves, make_correction
from adamcompat.mapping.model import Form, Numerics

# Elements, arrays or traced tensors: whatever the operations accept.
Value = Any

# Made once: making it shows in the step of a small network.
_AS_IT_IS = nullcontext()


class Operations(NamedTuple):
    """Supply the operations of the update.

    Attributes:
        fma: ``a*b + c``, rounded once or twice.
        blend: ``a*x + b*y``, with whatever contraction `fma` has.
        sqrt: the square root.
        maximum: the larger of two values; NaN wins.
        widen: a value in the precision in which the step is divided and subtracted.
        multiply: ``a*b``, rounded on its own.
    """

    fma: Callable[[Value, Value, Value], Value]
    blend: Callable[[Value, Value, Value, Value], Value]
    sqrt: Callable[[Value], Value]
    maximum: Callable[[Value, Value], Value]
    widen: Callable[[Value], Value]
    multiply: Callable[[Value, Value], Value]


def make_update(operations: Operations) -> Callable[..., tuple[Value, Value, Value, Value]]:
    r"""Return the update, built from `operations`.

    .. math::
        m &\leftarrow m + (g - m) (1 - \beta_1) \\
        v &\leftarrow v + (g^2 - v) (1 - \beta_2) \\
        \hat v &\leftarrow \max(\hat v, v) \quad\text{(AMSGrad)} \\
        p &\leftarrow p - \alpha\, m / (\sqrt{v} + \epsilon), \qquad
        \alpha = \eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)

    With AMSGrad :math:`\hat v` stands for :math:`v` in the last line; with Nesterov's look-ahead
    :math:`\beta_1 m + (1 - \beta_1) g` stands for :math:`m` there.

    With a decay :math:`d` that is added to the update, as in nn.AdamWeightDecay, :math:`\alpha` leaves the learning
    rate :math:`\eta` out:

    .. math::
        p \leftarrow p - \eta\, (\alpha\, m / (\sqrt{v} + \epsilon) + d\, p)

    Args:
        operations: how values are multiplied, added, compared and rounded.

    Returns:
        ``update(p, g, m, v, vhat, alpha, c1, c2, epsilon, beta1, square, rate, decay, lerp, beta2, root)``, which
        returns the new ``(p, m, v, vhat)``. ``c1`` and ``c2`` are ``1 - beta1`` and ``1 - beta2``. ``vhat=None`` means
        no AMSGrad; ``beta1=None`` means no Nesterov look-ahead; ``decay=None`` means no decay in the update. ``square``
        stands for ``g**2`` where that is something else than the square of ``g``; None means the square of ``g``. With
        ``lerp`` and ``beta2`` the moments are rounded as PyTorch's: ``lerp`` is ``c1``, or ``c1 - 1`` from 0.5 on, so
        that the first moment is reached from its nearer end. ``root``, where it is given, divides the root of the
        second moment.

    >>> plain = Operations(
    ...     lambda a, b, c: a * b + c, lambda a, x, b, y: a * x + b * y, np.sqrt, np.maximum, float, np.multiply)
    >>> p, m, v, _ = make_update(plain)(1.0, 0.5, 0.0, 0.0, None, 0.1, 0.1, 0.001, 0.0, None)
    >>> round(m, 6), round(v, 6), round(float(p), 6)
    (0.05, 0.00025, 0.683772)
    """
    fma, blend, sqrt, maximum, widen, multiply = operations

    def update(
        p: Value,
        g: Value,
        m: Value,
        v: Value,
        vhat: Value,
        alpha: Value,
        c1: Value,
        c2: Value,
        epsilon: Value,
        beta1: Value,
        square: Value = None,
        rate: Value = None,
        decay: Value = None,
        lerp: Value = None,
        beta2: Value = None,
        root: Value = None,
    ) -> tuple[Value, Value, Value, Value]:
        if lerp is None:
            m = fma(g - m, c1, m)
        else:
            m = fma(g - m, lerp, m if lerp > 0 else g)
        if beta2 is not None:
            v = fma(multiply(c2, g), g, multiply(beta2, v))
        elif square is None:
            v = fma(fma(g, g, -v), c2, v)
        else:
            v = fma(square - v, c2, v)
        if vhat is None:
            divisor = v
        else:
            vhat = maximum(vhat, v)
            divisor = vhat
        if beta1 is None:
            numerator = m
        else:
            numerator = blend(c1, g, beta1, m)
        below = sqrt(widen(divisor))
        if root is not None:
            below = below / widen(root)
        step = widen(alpha * numerator) / (below + widen(epsilon))
        if decay is None:
            p = widen(p) - step
        else:
            p = widen(p) - multiply(widen(rate), step + widen(multiply(decay, p)))
        return p, m, v, vhat

    return update


@dataclass(slots=True)
class Coefficients:
    """Hold the scalars of one step, rounded as the numerics say; not frozen, for that costs a microsecond.

    Attributes:
        alpha: learning rate times bias correction; bias correction alone with a decay in the update.
        c1: ``1 - beta1``.
        c2: ``1 - beta2``.
        epsilon: what is added to the root of the second moment.
        beta1: decay rate of the first moment, for Nesterov's look-ahead; None without it.
        rate: the learning rate, where a decay is added to the update; else None.
        decay: the decay that is added to the update, or None.
        lerp: how far the first moment goes, from its nearer end, where it is rounded as PyTorch's; else None.
        beta2: decay rate of the second moment, where that is rounded as PyTorch's; else None.
        root: the root of the second moment's bias correction, where that divides the moment's root; else None.
    """

    alpha: Any
    c1: Any
    c2: Any
    epsilon: Any
    beta1: Any
    rate: Any = None
    decay: Any = None
    lerp: Any = None
    beta2: Any = None
    root: Any = None


def arithmetic_dtype(numerics: Numerics, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype in which elements of `dtype` are updated; state is always kept in `dtype`.

    Args:
        numerics: how to round.
        dtype: the dtype of the parameters.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> arithmetic_dtype(MAPPING.numerics["mindspore"], np.float16)
    dtype('float32')
    """
    own = np.dtype(dtype)
    return np.dtype(numerics.half) if own == np.float16 else own


def scalar_dtype(numerics: Numerics, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype in which a step's scalars are computed for parameters of `dtype`.

    Args:
        numerics: how to round.
        dtype: the dtype of the parameters.
    """
    if numerics.scalars == "parameter":
        return arithmetic_dtype(numerics, dtype)
    return np.dtype(numerics.scalars)


def stage_dtype(numerics: Numerics, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype in which the stages around the update are computed for parameters of `dtype`.

    Args:
        numerics: how to round.
        dtype: the dtype of the parameters.
    """
    return arithmetic_dtype(numerics, dtype) if numerics.surroundings == "once" else np.dtype(dtype)


# What keeps running products keeps them in float32, whatever the parameters are.
POWER_DTYPE = np.dtype(np.float32)


def keeps_products(numerics: Numerics, form: Form) -> bool:
    """Return whether running products of the betas are kept; without bias correction nothing reads them.

    Args:
        numerics: how to round.
        form: whether the moments are corrected.
    """
    return numerics.beta_power == "product" and form.bias_correction == "both"


def advance_powers(beta1: float, beta2: float, powers: tuple[Any, Any]) -> tuple[Any, Any]:
    r"""Return running products of the betas after one more step: :math:`\beta^{t+1} = \beta^t \beta`.

    Args:
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).
        powers: the products of both so far.

    Returns:
        The next products of both, each rounded once to `POWER_DTYPE`; so are the betas before.
    """
    real = POWER_DTYPE.type
    # float64 holds the product of two float32 exactly, so that it is rounded once; and its underflow is no
    # error even under a user's numpy.seterr(all="raise").
    return real(float(powers[0]) * float(real(beta1))), real(float(powers[1]) * float(real(beta2)))


# Products that are formed at once.
CHUNK = 1 << 16


def running_product(beta: float, factors: int, dtype: DTypeLike) -> Any:
    """Return `beta` multiplied `factors` times, each product rounded to `dtype`.

    Args:
        beta: the factor, in [0, 1).
        factors: how many factors there are; 0 gives 1.
        dtype: the dtype of the product and of its factors.

    Returns:
        The product, which may differ from ``beta**factors`` in its last bits.

    >>> product, power = running_product(0.9, 30, np.float32), np.float32(np.float32(0.9).astype(float) ** 30)
    >>> float(power - product) / float(np.spacing(power))
    1.0
    """
    real = np.dtype(dtype).type
    product, done = real(1), 0
    while done < factors:
        many = min(CHUNK, factors - done)
        last = products(product, beta, many)[-1]
        if last == product:
            # Nothing changes any more: it is zero, or the smallest number there is.
            break
        product, done = last, done + many
    return product


def products(start: Any, beta: float, many: int) -> NDArray[Any]:
    """Return the next products of a running product, each rounded to its dtype.

    Args:
        start: the product so far, a NumPy scalar; it gives the dtype.
        beta: the factor, in [0, 1).
        many: how many products to return.

    Returns:
        An array of the shape ``(many,)`` with ``start * beta``, ``start * beta * beta`` and so on.
    """
    with np.errstate(under="ignore"):
        factors = np.full(many + 1, start.dtype.type(beta), start.dtype)
        factors[0] = start
        return np.multiply.accumulate(factors)[1:]


@cache
def given_epsilon(numerics: Numerics, epsilon: float) -> float:
    """Return epsilon as the numerics take it in: as it is, or rounded to float32.

    Args:
        numerics: how to round.
        epsilon: as it is given, not negative.
    """
    return float(np.float32(epsilon)) if numerics.given == "float32" else epsilon


class Scalars:
    """Compute the scalars of all steps; those that are the same in every step are rounded once.

    Args:
        numerics: how to round.
        dtype: dtype of the parameters.
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).
        epsilon: as it is given, not negative; `form` says which epsilon it is.
        nesterov: whether the numerator looks ahead.
        form: which epsilon is meant, and whether the moments are corrected.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> scalars = Scalars(MAPPING.numerics["canonical"], np.float64, beta1=0.9, beta2=0.999, epsilon=1e-8,
    ...                   nesterov=False, form=Form("hat", "both"))
    >>> round(float(scalars.at(0.001, step=1).alpha), 9)
    0.000316228
    """

    __slots__ = (
        "_bases",
        "_correct",
        "_epsilon",
        "_fixed",
        "_lerps",
        "_merged",
        "_moves",
        "_narrow",
        "_one",
        "_out",
        "_real",
        "_sqrt",
        "_wide",
    )

    def __init__(
        self,
        numerics: Numerics,
        dtype: DTypeLike,
        *,
        beta1: float,
        beta2: float,
        epsilon: float,
        nesterov: bool,
        form: Form,
    ) -> None:
        kind = scalar_dtype(numerics, dtype)
        out = self._out = arithmetic_dtype(numerics, dtype).type
        self._wide = np.float16 not in (out, kind)
        # Python's own float64 is several times faster than NumPy's scalars, and the same numbers.
        exact = kind == np.float64
        real: Any = float if exact else kind.type
        self._real, self._one = real, real(1)
        self._sqrt: Any = math.sqrt if exact else np.sqrt
        narrow = numerics.given != "float64"
        self._narrow = narrow and real is not np.float32
        decay1, decay2 = (float(np.float32(value)) if narrow else value for value in (beta1, beta2))
        epsilon = given_epsilon(numerics, epsilon)
        self._merged = numerics.correction == "step"
        self._correct = make_correction(form, merged=self._merged)
        self._moves = epsilon_moves(form, merged=self._merged)
        self._bases = float(real(decay1)), float(real(decay2))
        with np.errstate(all="ignore"):
            self._epsilon = real(epsilon)
            if numerics.one_minus_beta == "float64":
                c1, c2 = 1 - beta1, 1 - beta2
            else:
                c1, c2 = self._one - real(decay1), self._one - real(decay2)
            self._fixed = out(c1), out(c2), out(epsilon), out(decay1) if nesterov else None
            self._lerps: tuple[Any, Any] = None, None
            if numerics.moments == "lerp":
                weight = self._fixed[0]
                self._lerps = weight if weight < 0.5 else weight - out(1), out(decay2)

    def _root(self, x: Any) -> Any:
        return self._real(math.sqrt(x))

    def at(
        self,
        learning_rate: float,
        *,
        step: int = 1,
        powers: tuple[Any, Any] | None = None,
        decay: float | None = None,
    ) -> Coefficients:
        """Return the scalars of one step.

        Args:
            learning_rate: the learning rate of this step.
            step: the number of the step, 1 at the first.
            powers: ``beta1**step`` and ``beta2**step`` where the numerics keep running products; None to compute them.
            decay: weight decay that is added to the update, or None where there is none.
        """
        real, out = self._real, self._out
        # Rounded from float64: NumPy's own float32 power is off by one unit for every fourth step.
        base1, base2 = self._bases
        one, other = (base1**step, base2**step) if powers is None else powers
        # NumPy's errstate, ufuncs and conversions each take longer than the arithmetic. Within these bounds
        # there is nothing to ignore, and float64 rounds a root as float32 itself would.
        tame = self._wide and one < 1 and other <= 1 and (learning_rate == 0 or 1e-18 < abs(learning_rate) < 1e18)
        with _AS_IT_IS if tame else np.errstate(all="ignore"):
            rate = real(float(np.float32(learning_rate)) if self._narrow else learning_rate)
            one = one if type(one) is real else real(one)
            other = other if type(other) is real else real(other)
            root = self._root if tame else self._sqrt
            scaled = rate if decay is None else self._one
            alpha, epsilon, *divisor = self._correct(scaled, self._epsilon, one, other, self._one, root)
            alpha = alpha if type(alpha) is out else out(alpha)
            c1, c2, fixed, beta1 = self._fixed
            epsilon = out(epsilon) if self._moves else fixed
            if decay is None and self._merged and self._lerps[0] is None:
                return Coefficients(alpha, c1, c2, epsilon, beta1)
            rate, decay = (None, None) if decay is None else (out(rate), out(decay))
            lerp, beta2 = self._lerps
            return Coefficients(
                *(alpha, c1, c2, epsilon, beta1, rate, decay, lerp, beta2), out(divisor[0]) if divisor else None
            )


# Steps of one optimizer differ in learning rate and number only.
scalars = lru_cache(maxsize=64, typed=True)(Scalars)


def coefficients(
    numerics: Numerics,
    dtype: DTypeLike,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
    nesterov: bool,
    form: Form,
    powers: tuple[Any, Any] | None = None,
    decay: float | None = None,
) -> Coefficients:
    """Return the scalars of one step.

    Args:
        numerics: how to round.
        dtype: dtype of the parameters.
        learning_rate: the learning rate of this step.
        beta1: decay rate of the first moment, in [0, 1).
        beta2: decay rate of the second moment, in [0, 1).
        epsilon: as it is given, not negative; `form` says which epsilon it is.
        step: the number of the step, 1 at the first.
        nesterov: whether the numerator looks ahead.
        form: which epsilon is meant, and whether the moments are corrected.
        powers: ``beta1**step`` and ``beta2**step`` where the numerics keep running products; None to compute them.
        decay: weight decay that is added to the update, or None where there is none.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> step = coefficients(MAPPING.numerics["canonical"], np.float64, learning_rate=0.001, beta1=0.9,
    ...                     beta2=0.999, epsilon=1e-8, step=1, nesterov=False, form=Form("hat", "both"))
    >>> round(float(step.alpha), 9)
    0.000316228
    """
    made = scalars(numerics, np.dtype(dtype), beta1=beta1, beta2=beta2, epsilon=epsilon, nesterov=nesterov, form=form)
    return made.at(learning_rate, step=step, powers=powers, decay=decay)
