"""One step with another framework's calling convention, traced variable by variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf

from adamcompat.interpreter import Interpreter, StepNumbers, bind
from adamcompat.kernel import Coefficients
from adamcompat.program import DIVIDE, MULTIPLY, OF_PARAMETER, SUBTRACT, Program, Scalar
from adamcompat.stages import make_stages
from adamcompat.tensorflow import operations, sparse
from adamcompat.tensorflow.rounding import POWER_DTYPE, Rounding, once


class Member(NamedTuple):
    """Hold a variable with its state, and what its group says.

    Attributes:
        variable: the tf.Variable.
        m: the variable with its first moment.
        v: the variable with its second moment.
        vhat: the variable with the maximum of its second moments, or None without AMSGrad.
        group: the place of its group.
        decays: whether weight decay reaches it.
        centralize: whether its gradient loses its mean.
    """

    variable: Any
    m: Any
    v: Any
    vhat: Any
    group: int
    decays: bool
    centralize: bool


class Numbers(NamedTuple):
    """Hold the numbers of a group's step, scalars of float64.

    Attributes:
        rate: the learning rate.
        decay: the weight decay, or None where there is none.
    """

    rate: Any
    decay: Any


class Lane(NamedTuple):
    """Hold one variable on its way through the stages.

    Attributes:
        member: the variable with its state.
        rounding: how to round its dtype.
        p: the parameter, in the dtype of the stages.
        g: its gradient, in the same dtype.
        rows: the indices of the rows that they hold, or None where they hold all.
        touched: truth values that say for each row whether it is written, or None where all rows are.
    """

    member: Member
    rounding: Rounding
    p: Any
    g: Any
    rows: Any = None
    touched: Any = None


def _same(value: Any) -> Any:
    return value


class Step(Interpreter):
    """Make one step, in the mode that TensorFlow is in.

    Args:
        program: the compiled step of the optimizer.
        roundings: how to round, by dtype of variables.
        numbers: learning rate and weight decay of each group.
        iterations: the steps made so far, as a tensor.
        products: the running products of the betas before this step, where they are kept, by dtype.

    Attributes:
        products: the same after this step.
    """

    def __init__(
        self,
        program: Program,
        roundings: dict[Any, Rounding],
        numbers: Sequence[Numbers],
        iterations: Any,
        products: dict[Any, tuple[Any, Any]],
    ) -> None:
        self._program = program
        self.stepwise = program.stepwise
        self._roundings = roundings
        self._numbers = numbers
        self._iterations = iterations
        self._xla = operations.inside_xla()
        # Grappler turns a division by a constant into a product, and XLA a product and a sum into one rounding.
        self._hide: Callable[[Any], Any] = (
            _same if tf.executing_eagerly() else lambda x: x + operations.negative_zero(iterations, x.dtype)
        )
        self._barrier = self._hide if self._xla else _same
        self._stages = make_stages(operations.separate(self._barrier), tf.minimum, once)
        self._coefficients: dict[Any, Coefficients] = {}
        rounding = next(iter(roundings.values()))
        self.products = {dtype: rounding.advanced(pair, self._hide) for dtype, pair in products.items()}
        self._powers = dict(self.products)

    def apply(self, members: Sequence[Member], gradients: Sequence[Any], missed: Any = None) -> None:
        """Update variables and their state.

        Args:
            members: the variables, with their state.
            gradients: a tensor or IndexedSlices for each.
            missed: how many of the steps each was left out of, as one tensor; None where all of them count.
        """
        lanes = [self._lane(member, gradient) for member, gradient in zip(members, gradients, strict=True)]
        lanes = list(self.run(self._program.stages, lanes))
        for lane, coefficients in zip(lanes, self._of_lanes(lanes, missed), strict=True):
            self._write(lane, coefficients)

    def _lane(self, member: Member, gradient: Any) -> Lane:
        rounding, shape = self._roundings[member.variable.dtype], member.variable.shape
        rows = touched = None
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, rounding.around)
            gradient = tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
            if self._program.update.lazy and self._xla:
                # XLA knows no lists of rows of a length that depends on values: all rows are computed, some chosen.
                ones = tf.ones_like(gradient.indices, tf.int32)
                touched = tf.math.unsorted_segment_sum(ones, gradient.indices, shape[0]) > 0
                touched = tf.reshape(touched, [-1] + [1] * (len(shape) - 1))
            elif self._program.update.lazy:
                unique = sparse.deduplicate(gradient)
                gradient, rows = unique.values, unique.indices
        if rows is None:
            gradient = sparse.dense(gradient, shape)
        old = _read(member.variable, rows)
        return Lane(member, rounding, tf.cast(old, rounding.around), tf.cast(gradient, rounding.around), rows, touched)

    def _write(self, lane: Lane, coefficients: Coefficients) -> None:
        """Update the variable of a lane and its state."""
        kind, member = lane.rounding.arithmetic, lane.member
        m, v, vhat = (None if x is None else tf.cast(_read(x, lane.rows), kind) for x in member[1:4])
        p, gradient = tf.cast(lane.p, kind), tf.cast(lane.g, kind)
        new = lane.rounding.update(p, gradient, m, v, vhat, coefficients, self._barrier)
        for target, result in zip(member[:4], new, strict=True):
            if target is None:
                continue
            value = tf.cast(result, target.dtype)
            if lane.rows is not None:
                target.scatter_update(tf.IndexedSlices(value, lane.rows))
            else:
                value = value if lane.touched is None else tf.where(lane.touched, value, target)
                target.assign(value, read_value=False)

    def elementwise(self, lane: Lane, code: int, a: Scalar, b: Scalar) -> Lane:
        """Return a lane after a stage of one formula.

        Args:
            lane: the variable with its gradient, in the dtype of the stages.
            code: the stage, one of the codes of `program`.
            a: the first number of its formula.
            b: the second number of its formula.

        Returns:
            A lane; the same where the step has no number for the stage, or weight decay does not reach the variable.
        """
        rate, decay = self._numbers[lane.member.group]
        numbers = StepNumbers(rate, decay, narrow=lambda number: tf.cast(tf.cast(number, tf.float32), tf.float64))
        for bound in bind(code, a, b, numbers, decays=lane.member.decays):
            one = self.narrowed(lane, bound.a)
            if code in OF_PARAMETER:
                p = self._stages[code](lane.p, one, self.narrowed(lane, bound.b))
                return lane._replace(p=self._barrier(p))
            return self._after(lane, code, one)
        return lane

    def _after(self, lane: Lane, code: int, number: Any) -> Lane:
        return lane._replace(g=self._barrier(self._stages[code](lane.g, lane.p, number)))

    def multiplied(self, lane: Lane, factor: Any) -> Lane:
        """See `Interpreter`."""
        return self._after(lane, MULTIPLY, self.narrowed(lane, factor))

    def divided(self, lane: Lane, divisor: Any) -> Lane:
        """See `Interpreter`."""
        return self._after(lane, DIVIDE, self.narrowed(lane, divisor))

    def centralized(self, lane: Lane) -> Lane:
        """See `Interpreter`."""
        axes = list(range(1, len(lane.member.variable.shape)))
        if not lane.member.centralize or not axes:
            return lane
        means = tf.reduce_mean(tf.cast(lane.g, tf.float64), axes, keepdims=True)
        return lane._replace(g=self._stages[SUBTRACT](lane.g, lane.p, tf.cast(means, lane.rounding.around)))

    def squares(self, lane: Lane) -> Any:
        """See `Interpreter`."""
        return tf.reduce_sum(self._barrier(tf.square(tf.cast(lane.g, tf.float64))))

    def norm_of_all(self, lanes: Sequence[Lane]) -> Any:
        """See `Interpreter`."""
        return tf.sqrt(tf.add_n([self.squares(lane) for lane in lanes]))

    def constant(self, scalar: Any) -> Any:
        """See `Interpreter`."""
        return tf.constant(scalar[0], tf.float64)

    def narrowed(self, lane: Lane, number: Any) -> Any:
        """See `Interpreter`."""
        number = number if tf.is_tensor(number) else tf.constant(number, tf.float64)
        return self._hide(tf.cast(number, lane.rounding.around))

    def root(self, number: Any) -> Any:
        """See `Interpreter`."""
        return tf.sqrt(number)

    def maximum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return tf.maximum(one, other)

    def minimum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return tf.minimum(one, other)

    def _of_lanes(self, lanes: Sequence[Lane], missed: Any) -> list[Coefficients]:
        """Return the scalars of each lane; see `apply`."""
        shared = [self._coefficients_of(lane) for lane in lanes]
        if missed is None:
            return shared
        # Almost always nothing was missed: the scalars of each variable are computed where something was.
        moved = tf.cond(
            tf.reduce_any(missed > 0),
            lambda: [_moving(self._computed(lane, missed[place])) for place, lane in enumerate(lanes)],
            lambda: [_moving(one) for one in shared],
        )
        return [replace(one, **found) for one, found in zip(shared, moved, strict=True)]

    def _coefficients_of(self, lane: Lane) -> Coefficients:
        key = (lane.member.group, lane.member.variable.dtype, lane.member.decays)
        if key not in self._coefficients:
            self._coefficients[key] = self._computed(lane)
        return self._coefficients[key]

    def _computed(self, lane: Lane, missed: Any = None) -> Coefficients:
        """Return the scalars of a lane that was left out of some steps.

        Args:
            lane: the variable with its gradient after the stages.
            missed: how many steps, a tensor; None means none.
        """
        member, rounding = lane.member, lane.rounding
        rate, changing = self._numbers[member.group]
        own = self._program.update.decay
        own = changing if own is None else own
        decay = own if member.decays and own is not None else 0.0
        return rounding.coefficients(rate, decay, self._powers_of(rounding, missed), self._hide)

    def _powers_of(self, rounding: Rounding, missed: Any) -> tuple[Any, Any]:
        step = tf.cast(self._iterations, tf.int64) + 1
        if missed is not None:
            return rounding.powers(step - missed)
        kept = POWER_DTYPE if self.products else rounding.scalar
        if kept not in self._powers:
            self._powers[kept] = rounding.powers(step)
        found: tuple[Any, Any] = self._powers[kept]
        return found


def _moving(coefficients: Coefficients) -> dict[str, Any]:
    """Return the scalars that may depend on the number of steps, as tensors."""
    found = {name: getattr(coefficients, name) for name in ("alpha", "epsilon", "root")}
    return {name: value for name, value in found.items() if value is not None}


def _read(variable: Any, rows: Any) -> Any:
    """Return a variable as a tensor, or some rows of it: what is no tensor yet is read again at each use."""
    return tf.convert_to_tensor(variable) if rows is None else tf.gather(variable, rows)
