"""One step in MindSpore's order of stages, traced variable by variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from adamcompat.hyperparameters import Hyperparameters
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.stages import DECOUPLED_DECAY, SUBTRACT, elementwise, make_stages
from adamcompat.tensorflow import sparse, update
from adamcompat.tensorflow.rounding import POWER_DTYPE, Rounding


class Member(NamedTuple):
    """A variable with its state and what its group says; `vhat` is None without AMSGrad."""

    variable: Any
    m: Any
    v: Any
    vhat: Any
    group: int
    decays: bool
    centralize: bool


class Numbers(NamedTuple):
    """Hold what a group's step depends on: float64 scalars; `decay` is None without L2 decay."""

    rate: Any
    decay: Any


def _same(value: Any) -> Any:
    return value


class Step:
    """One step, in the mode that TensorFlow is in.

    Args:
        dialect: whose order of stages to follow.
        numerics: how to round.
        hyper: the hyperparameters.
        roundings: by dtype of variables.
        numbers: of each group.
        iterations: the steps made so far, as a tensor.
        products: of the betas before this step, where they are kept, by dtype.

    Attributes:
        products: after this step.
    """

    def __init__(
        self,
        dialect: Dialect,
        numerics: Numerics,
        hyper: Hyperparameters,
        roundings: dict[Any, Rounding],
        numbers: Sequence[Numbers],
        iterations: Any,
        products: dict[Any, tuple[Any, Any]],
    ) -> None:
        self._dialect = dialect
        self._numerics = numerics
        self._hyper = hyper
        self._roundings = roundings
        self._numbers = numbers
        self._iterations = iterations
        self._xla = update.inside_xla()
        # Grappler turns a division by a constant into a product, and XLA a product and a sum into one rounding.
        self._hide: Callable[[Any], Any] = (
            _same if tf.executing_eagerly() else lambda x: x + update.negative_zero(iterations, x.dtype)
        )
        self._barrier = self._hide if self._xla else _same
        self._stages = make_stages(update.separate(self._barrier), tf.minimum)
        self._coefficients: dict[Any, Coefficients] = {}
        rounding = next(iter(roundings.values()))
        self.products = {dtype: rounding.advanced(pair, self._hide) for dtype, pair in products.items()}
        self._powers = dict(self.products)

    def apply(self, member: Member, gradient: Any) -> None:
        """Update one variable and its state."""
        rounding = self._roundings[member.variable.dtype]
        shape = member.variable.shape
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, rounding.around)
            gradient = tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
            if self._hyper["lazy"]:
                self._apply_rows(member, rounding, gradient)
                return
        gradient = tf.cast(sparse.dense(gradient, shape), rounding.around)
        targets, new = self._updated(member, rounding, gradient, _same)
        for target, value in zip(targets, new, strict=True):
            target.assign(value, read_value=False)

    def _apply_rows(self, member: Member, rounding: Rounding, gradient: Any) -> None:
        """Update the rows that a gradient holds and leave the others as they are."""
        if self._xla:
            # XLA knows no lists of rows of a length that depends on values: all rows are computed, some chosen.
            count, axes = member.variable.shape[0], len(member.variable.shape)
            ones = tf.ones_like(gradient.indices, tf.int32)
            touched = tf.math.unsorted_segment_sum(ones, gradient.indices, count) > 0
            touched = tf.reshape(touched, [-1] + [1] * (axes - 1))
            targets, new = self._updated(member, rounding, sparse.dense(gradient, member.variable.shape), _same)
            for target, value in zip(targets, new, strict=True):
                target.assign(tf.where(touched, value, target), read_value=False)
            return
        unique = sparse.deduplicate(gradient)
        targets, new = self._updated(member, rounding, unique.values, lambda x: tf.gather(x, unique.indices))
        for target, value in zip(targets, new, strict=True):
            target.scatter_update(tf.IndexedSlices(value, unique.indices))

    def _updated(
        self, member: Member, rounding: Rounding, gradient: Any, read: Callable[[Any], Any]
    ) -> tuple[list[Any], list[Any]]:
        """Return what is to be written, and where.

        Args:
            member: the variable.
            rounding: of its dtype.
            gradient: of the rows that are read.
            read: reads those rows of a variable.
        """
        old = [None if x is None else tf.convert_to_tensor(read(x)) for x in member[:4]]
        decayed, gradient = self._prepared(member, rounding, tf.cast(old[0], rounding.around), gradient)
        kind = rounding.arithmetic
        p, m, v, vhat = (None if x is None else tf.cast(x, kind) for x in (decayed, *old[1:]))
        coefficients = self._coefficients_of(member, rounding)
        new = rounding.update(p, tf.cast(gradient, kind), m, v, vhat, coefficients, self._barrier)
        pairs = [(x, value) for x, value in zip(member[:4], new, strict=True) if x is not None]
        return [target for target, _ in pairs], [tf.cast(value, target.dtype) for target, value in pairs]

    def _prepared(self, member: Member, rounding: Rounding, p: Any, gradient: Any) -> tuple[Any, Any]:
        """A parameter and its gradient after the stages before the update."""
        numbers = self._numbers[member.group]

        def narrow(number: Any) -> Any:
            return tf.cast(tf.cast(number, tf.float32), tf.float64)

        for stage in self._dialect.stages:
            if stage == "centralize":
                if member.centralize and len(member.variable.shape) > 1:
                    axes = list(range(1, len(member.variable.shape)))
                    means = tf.reduce_mean(tf.cast(gradient, tf.float64), axes, keepdims=True)
                    gradient = self._stages[SUBTRACT](gradient, p, tf.cast(means, rounding.around))
                continue
            if stage in ("deduplicate", "update"):
                continue
            for step in elementwise(
                stage,
                self._dialect,
                self._numerics,
                self._hyper,
                decays=member.decays,
                rate=numbers.rate,
                l2_decay=numbers.decay,
                narrow=narrow,
            ):
                a, b = (
                    self._hide(tf.cast(tf.convert_to_tensor(x, tf.float64), rounding.around)) for x in (step.a, step.b)
                )
                if step.code == DECOUPLED_DECAY:
                    p = self._barrier(self._stages[step.code](p, a, b))
                else:
                    gradient = self._barrier(self._stages[step.code](gradient, p, a))
        return p, gradient

    def _coefficients_of(self, member: Member, rounding: Rounding) -> Coefficients:
        key = (member.group, member.variable.dtype)
        if key not in self._coefficients:
            kept = POWER_DTYPE if self.products else rounding.scalar
            if kept not in self._powers:
                self._powers[kept] = rounding.powers(tf.cast(self._iterations, tf.int64) + 1)
            rate = self._numbers[member.group].rate
            self._coefficients[key] = rounding.coefficients(rate, self._powers[kept], self._hide)
        return self._coefficients[key]
