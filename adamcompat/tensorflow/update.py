"""The update of a whole list of variables, traced with TensorFlow's operations.

Three forms give the same bits: TensorFlow's own operations; small variables concatenated and
updated as one; and, where it pays, an XLA function for each variable. XLA's code generator
contracts a product and a sum into one rounding; a barrier between the two keeps it from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from adamcompat.correction import make_correction
from adamcompat.executors.launch import processors
from adamcompat.kernel import Operations, make_update
from adamcompat.mapping.model import Form, Numerics
from adamcompat.tensorflow import sparse
from adamcompat.tensorflow.first_steps import FirstSteps, within
from adamcompat.tensorflow.operations import (
    PLAIN,
    arithmetic,
    barred,
    make_decoupled_decay,
    negative_zero,
    unrecorded,
)

# Variables of at most this many elements are concatenated: launching one operation for each of
# them costs more than copying them.
SMALL = 16_384
# From this many elements on, a list is worth compiling: XLA costs about 0.1 s for each distinct shape
# and saves about 3 ms a step for each million elements.
WORTH_COMPILING = 4_000_000
# From this many elements of one variable on, tracing a formula pays in the first eager step.
WORTH_TRACING = 4_000_000
# Elements of a block: what belongs to it stays in a core's cache.
BLOCK = 4_096
# Threads that a machine's memory can feed.
FED_THREADS = 8

_COMPILED = (tf.float32, tf.float64)


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


def _beta(beta: Any, dtype: Any) -> Any:
    # All of TensorFlow's Adams round the betas to float32, even for float64 variables.
    return tf.cast(number(beta, tf.float32), dtype)


def _complement(numerics: Numerics, beta: Any, dtype: Any) -> Any:
    if numerics.one_minus_beta == "float64":
        return tf.cast(1 - number(beta, tf.float64), dtype)
    return 1 - _beta(beta, dtype)


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
    return tf.pow(_beta(hyper.beta1, dtype), step), tf.pow(_beta(hyper.beta2, dtype), step)


# Of the originals here, and of TensorFlow's own kernels.
_correct = make_correction(Form(epsilon="hat", bias_correction="both"))


def _update(operations: Operations, decay: Decay | None) -> Callable[..., Any]:
    """Return the update, behind the decay of the variable where there is one."""
    update = make_update(operations)
    if decay is None:
        return update
    decayed = make_decoupled_decay(operations)
    return lambda p, *rest: update(decayed(p, *decay), *rest)


_plain = _update(PLAIN, None)


def _assign(variable: Any, value: Any) -> Any:
    return variable.assign(value, read_value=False)


@cache
def _traced(kind: Any, amsgrad: bool, decaying: bool) -> Any:
    """Return the update of one variable of any length as a traced function, see `_formula`."""
    flat, scalar = tf.TensorSpec([None], kind), tf.TensorSpec([], kind)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def adam(p: Any, gradient: Any, m: Any, v: Any, vhat: Any, values: Scalars, decay: Decay | None) -> Any:
        return _update(PLAIN, decay)(p, gradient, m, v, vhat, *values, None, None)

    decay = Decay(scalar, scalar) if decaying else None
    return adam.get_concrete_function(*[flat] * 4, flat if amsgrad else None, Scalars(*[scalar] * 4), decay)


def _formula(kind: Any, amsgrad: bool, decaying: bool, decay: Decay | None) -> Callable[..., Any]:
    """Return the update, behind decay where there is one, that writes intermediate results over each other.

    Eager operations take fresh memory for each; a graph does not.

    Args:
        kind: the dtype of the arithmetic.
        amsgrad: whether there is a maximum of the second moments.
        decaying: whether the variable decays.
        decay: the numbers of the decay.
    """
    adam = _traced(kind, amsgrad, decaying)

    def update(p: Any, gradient: Any, m: Any, v: Any, vhat: Any, *scalars: Any) -> list[Any]:
        values, shape = Scalars(*scalars[:4]), p.shape
        flat = [None if x is None else tf.reshape(x, [-1]) for x in (p, gradient, m, v, vhat)]
        number = None if decay is None else Decay(*[tf.convert_to_tensor(one, kind) for one in decay])
        with unrecorded():
            results = adam(*flat, values, number)
        return [None if x is None else tf.reshape(x, shape) for x in results]

    return update


def update_one(
    row: Row,
    values: Scalars,
    beta1: Any = None,
    update: Callable[..., Any] = _plain,
    assign: Callable[[Any, Any], Any] = _assign,
) -> list[Any]:
    """Update one variable and its state; for the formula see `kernel.make_update`.

    Args:
        row: the variable, with a dense gradient.
        values: the scalars of this step, whose dtype is that of the arithmetic.
        beta1: the first beta, which asks for Nesterov's look-ahead; None asks for none.
        update: the formula over the operations to use.
        assign: takes a variable and its new value, and writes it.

    Returns:
        The results of `assign`, which in a graph are operations to run.
    """
    kind = values.alpha.dtype
    p, gradient, m, v, vhat, square = (None if x is None else tf.cast(x, kind) for x in row)
    results = update(p, gradient, m, v, vhat, *values, beta1, square)
    return [
        assign(target, tf.cast(result, target.dtype.base_dtype))
        for target, result in zip((row.variable, row.m, row.v, row.vhat), results, strict=True)
        if target is not None
    ]


def _update_in_blocks(row: Row, values: Scalars, update: Callable[..., Any], never: Any) -> None:
    """Update one row inside XLA in one thread, and pass over memory once.

    XLA makes a loop for each result. Over whole arrays, each of these loops fetches its operands from memory anew; a
    block is in the cache after the first. Each result overwrites what only it and those before it are computed from.
    XLA copies whole arrays for each block unless it sees that order, so the position of a result depends on the one
    before: by `never`, which is False and which XLA cannot know.
    """
    from tensorflow.compiler.tf2xla.python import xla

    kind = values.alpha.dtype
    # The gradient of rows that have none is one zero.
    gradient = None if row.gradient.shape.rank == 0 < row.variable.shape.rank else tf.reshape(row.gradient, [-1])
    targets = [x for x in (row.variable, row.m, row.v, row.vhat) if x is not None]
    order = ((0,), (1, 2)) if row.vhat is None else ((0,), (3,), (1, 2))

    def step(state: Sequence[Any], start: Any, size: int) -> list[Any]:
        position, state = start, list(state)
        for results in order:
            g = row.gradient if gradient is None else xla.dynamic_slice(gradient, position, [size])
            p, m, v, *vhat = [xla.dynamic_slice(x, position, [size]) for x in state]
            new = update(p, tf.cast(g, kind), m, v, *(vhat or [None]), *values, None)
            for result in results:
                state[result] = xla.dynamic_update_slice(state[result], new[result], position)
            written = xla.dynamic_slice(state[results[0]], position, [1])
            position = start + tf.cast(tf.logical_and(never, written > 0), start.dtype)
        return state

    def body(index: Any, *state: Any) -> tuple[Any, ...]:
        return index + 1, *step(state, tf.reshape(index * BLOCK, [1]), BLOCK)

    blocks, rest = divmod(row.variable.shape.num_elements(), BLOCK)
    state = [tf.reshape(target, [-1]) for target in targets]
    if blocks:
        _, *state = tf.while_loop(lambda index, *_: index < blocks, body, (tf.constant(0, tf.int64), *state))
    if rest:
        state = step(state, tf.constant([blocks * BLOCK], tf.int64), rest)
    for target, value in zip(targets, state, strict=True):
        _assign(target, tf.reshape(value, target.shape))


@cache
def _compiled(shape: tuple[int, ...], dtype: Any, amsgrad: bool, in_blocks: bool) -> Any:
    """Return an XLA function, shared by all variables of this shape in the process.

    Args:
        shape: of the variables.
        dtype: of the variables and the arithmetic.
        amsgrad: whether there is a maximum of the second moments.
        in_blocks: whether it runs in one thread, and passes over memory once.
    """

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def adam(row: Row, values: Scalars, decay: Decay | None, zero: Any, never: Any) -> None:
        update = _update(barred(zero), decay)
        if in_blocks:
            _update_in_blocks(row, values, update, never)
        else:
            update_one(row, values, update=update)

    return adam


def _threads() -> int:
    """Return how many XLA functions can run at once."""
    return min(tf.config.threading.get_inter_op_parallelism_threads() or processors(), FED_THREADS)


def _update_concatenated(rows: Sequence[Row], values: Scalars, update: Callable[..., Any]) -> None:
    """Update small rows as one; raw operations, because with many rows each costs tracing time and a launch."""
    if not rows:
        return
    kind = values.alpha.dtype
    shapes = [row.variable.shape for row in rows]

    def flat(column: Sequence[Any]) -> Any:
        parts = []
        for x, shape in zip(column, shapes, strict=True):
            value = tf.raw_ops.ReadVariableOp(resource=x.handle, dtype=x.dtype) if hasattr(x, "handle") else x
            value = value if value.dtype == kind else tf.cast(value, kind)
            parts.append(value if shape.rank == 1 else tf.reshape(value, [-1]))
        return tf.concat(parts, 0)

    columns = list(zip(*rows, strict=True))
    p, gradient, m, v, vhat, square = (None if column[0] is None else flat(column) for column in columns)
    results = update(p, gradient, m, v, vhat, *values, None, square)
    sizes = [shape.num_elements() for shape in shapes]
    for targets, result in zip((columns[0], *columns[2:5]), results, strict=True):
        if result is None:
            continue
        for target, part, shape in zip(targets, tf.split(result, sizes), shapes, strict=True):
            value = part if shape.rank == 1 else tf.reshape(part, shape)
            value = value if target.dtype == kind else tf.cast(value, target.dtype)
            tf.raw_ops.AssignVariableOp(resource=target.handle, value=value)


def _sparse(row: Row) -> bool:
    return isinstance(row.gradient, tf.IndexedSlices)


def _dense(row: Row, kind: Any, zero: Any = None) -> Row:
    """Return a row with a dense gradient, and the square of that where it is something else."""
    if not _sparse(row):
        return row
    gradient, square = sparse.dense_and_square(row.gradient, row.variable.shape, kind, zero)
    return row._replace(gradient=gradient, square=square)


def _update_touched(row: Row, values: Scalars, update: Callable[..., Any], update_all: Callable[[Row], Any]) -> None:
    """Update a table as if its gradient were zero, and then anew the few rows that have one.

    Two dense arrays as large as the table, of gradients and of their squares, would cost more than the update.
    """
    kind = values.alpha.dtype
    indices, gradient, square = sparse.by_index(row.gradient, kind)
    targets = row.variable, row.m, row.v, row.vhat
    # An index that is none fails here, before anything is written.
    p, m, v, vhat = (None if x is None else tf.gather(x, indices) for x in targets)
    update_all(row._replace(gradient=tf.zeros((), kind)))
    for target, result in zip(targets, update(p, gradient, m, v, vhat, *values, None, square), strict=True):
        if target is not None:
            tf.raw_ops.ResourceScatterUpdate(resource=target.handle, indices=indices, updates=result)


def _compilable(row: Row, kind: Any) -> bool:
    return row.variable.dtype == kind and kind in _COMPILED and "GPU" not in row.variable.device


def update_list(
    rows: Iterable[Row],
    numerics: Numerics,
    hyper: Hyper,
    iterations: Any,
    step: Any,
    *,
    inside_xla: bool,
    whole: bool = True,
    assign: Callable[[Any, Any], Any] = _assign,
    decays: Callable[[Any], bool] | None = None,
    product: bool = False,
    first: FirstSteps | None = None,
) -> None:
    """Update every row, in whichever form is fastest.

    Args:
        rows: variables, each at most once.
        numerics: how to round.
        hyper: the hyperparameters of this step.
        iterations: the step counter; any int64 that is known only at run time.
        step: 1 at the first step.
        inside_xla: whether the caller is being compiled by XLA.
        whole: whether variables may be updated together; a strategy's replicas may not.
        assign: how to assign where variables are updated one by one.
        decays: tells of a variable whether it decays before its update; of no variable where it is None.
        product: whether decay and learning rate are multiplied first; see `decay_of`.
        first: the account of first steps, in an eager step that may call programs; None where it may not.
    """
    eager = tf.executing_eagerly()
    groups: dict[tuple[Any, Any, bool], list[Row]] = {}
    for row in rows:
        decaying = decays is not None and decays(row.variable)
        groups.setdefault((arithmetic(row.variable.dtype), row.variable.device, decaying), []).append(row)
    for (kind, _, decaying), group in groups.items():
        values = scalars(numerics, hyper, step, kind)
        decay = decay_of(hyper, kind, product=product) if decaying else None
        plain = _update(PLAIN, decay)
        if inside_xla:
            zero = negative_zero(iterations, kind)
            update = _update(barred(zero), decay)
            for row in group:
                update_one(_dense(row, kind, zero), values, update=update, assign=assign)
            continue
        small = [row for row in group if whole and row.variable.shape.num_elements() <= SMALL]
        large = group if len(small) < 2 else [row for row in group if row.variable.shape.num_elements() > SMALL]
        if len(small) > 1:
            if first is not None:
                first.together(len(small))
            _update_concatenated([row for row in small if not _sparse(row)], values, plain)
            _update_concatenated([_dense(row, kind) for row in small if _sparse(row)], values, plain)
        elements = sum(row.variable.shape.num_elements() for row in large)
        compiled: list[Row] = []
        if whole and elements >= WORTH_COMPILING and (first is not None or not eager):
            compiled = [row for row in large if _compilable(row, kind)]
            large = [row for row in large if not _compilable(row, kind)]
            zero, never = negative_zero(iterations, kind), tf.cast(iterations, tf.int64) < 0
        # The largest first: so all threads end at about the same time.
        for row in sorted(compiled, key=lambda row: -row.variable.shape.num_elements()):
            shape = row.variable.shape
            # What is more than one thread's share is left to XLA, whose loops over whole arrays use all threads.
            in_blocks = shape.num_elements() * _threads() <= elements
            adam = _compiled(tuple(shape), kind, row.vhat is not None, in_blocks)
            device = row.variable.device
            if eager and first is not None:
                if not _sparse(row) and first.program((adam, row.gradient.dtype, device, decaying)):
                    with unrecorded(), tf.device(device):
                        within(adam)(row, values, decay, zero, never)
                else:
                    large.append(row)
                continue
            # XLA compiles for a device, and takes no variables of another.
            with tf.device(device):
                if _sparse(row):
                    _update_touched(row, values, plain, lambda rest: adam(rest, values, decay, zero, never))  # noqa: B023
                else:
                    adam(row, values, decay, zero, never)
        formula = plain
        if first is not None and large:
            key = kind, group[0].vhat is not None, decaying
            largest = max(row.variable.shape.num_elements() for row in large)
            if first.formula(key, at_once=largest >= WORTH_TRACING):
                formula = _formula(*key, decay)
        for row in large:
            update_one(_dense(row, kind), values, update=plain if _sparse(row) else formula, assign=assign)


def update_fused(
    rows: Iterable[Row], numerics: Numerics, hyper: Hyper, iterations: Any, step: Any, *, inside_xla: bool
) -> None:
    """Update every row with TensorFlow's own fused kernel, or with its rounding where there is none.

    Args:
        rows: variables with dense gradients.
        numerics: how to round where there is no kernel.
        hyper: the hyperparameters of this step.
        iterations: the step counter; any int64 that is known only at run time.
        step: 1 at the first step.
        inside_xla: whether the caller is being compiled by XLA.
    """
    cast: dict[Any, dict[str, Any]] = {}
    for row in rows:
        kind = row.variable.dtype
        # XLA has no kernel for AMSGrad, and the one for bfloat16 leaves variables as they are.
        if kind == tf.bfloat16 or (inside_xla and row.vhat is not None):
            update_list([row], numerics, hyper, iterations, step, inside_xla=inside_xla, whole=False)
            continue
        if kind not in cast:
            power1, power2 = powers(hyper, step, kind)
            cast[kind] = {
                "beta1_power": power1,
                "beta2_power": power2,
                "lr": number(hyper.learning_rate, kind),
                "beta1": _beta(hyper.beta1, kind),
                "beta2": _beta(hyper.beta2, kind),
                "epsilon": number(hyper.epsilon, kind),
            }
        # The kernel aborts the process on a gradient of another dtype.
        handles = {"var": row.variable.handle, "m": row.m.handle, "v": row.v.handle}
        gradient = tf.cast(row.gradient, kind)
        if row.vhat is None:
            tf.raw_ops.ResourceApplyAdam(grad=gradient, **handles, **cast[kind])
        else:
            tf.raw_ops.ResourceApplyAdamWithAmsgrad(grad=gradient, vhat=row.vhat.handle, **handles, **cast[kind])
