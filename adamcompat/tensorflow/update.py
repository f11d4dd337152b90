"""The update of a whole list of variables, traced with TensorFlow's operations.

Four forms give the same bits: TensorFlow's own operations; small variables concatenated and updated as one; where it
pays, an XLA function for each variable; and in first eager steps a function that writes in place. XLA's code generator
contracts a product and a sum into one rounding; a barrier between the two keeps it from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import tensorflow as tf

from adamcompat.executors.launch import processors
from adamcompat.mapping.model import Numerics
from adamcompat.tensorflow import in_place, sparse
from adamcompat.tensorflow.first_steps import FirstSteps, within
from adamcompat.tensorflow.operations import (
    FLOATS,
    PLAIN,
    arithmetic,
    barred,
    negative_zero,
    unrecorded,
)
from adamcompat.tensorflow.terms import (
    Decay,
    Hyper,
    Row,
    Scalars,
    beta_of,
    decay_of,
    decaying_update,
    number,
    powers,
    scalars,
)

# Variables of at most this many elements are concatenated: launching one operation for each of
# them costs more than copying them.
SMALL = 16_384
# Elements that are concatenated at the same time, and how many times that happens at once.
CHUNK, CHAINS = 32_768, 2
# From this many elements on, a list is worth compiling: XLA costs about 0.1 s for each distinct shape
# and saves about 3 ms a step for each million elements.
WORTH_COMPILING = 4_000_000
# From this many elements on, tracing an update that writes in place pays in the first eager step. The operations of
# another variable take the original as long as so many elements more.
WORTH_TRACING, ANOTHER = 4_000_000, 100_000
# Elements of a block: what belongs to it stays in a core's cache.
BLOCK = 4_096
# Threads that a machine's memory can feed.
FED_THREADS = 8

_COMPILED = (tf.float32, tf.float64)


_plain = decaying_update(PLAIN, None)


def _assign(variable: Any, value: Any) -> Any:
    return variable.assign(value, read_value=False)


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
    targets = row.targets
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
        update = decaying_update(barred(zero), decay)
        if in_blocks:
            _update_in_blocks(row, values, update, never)
        else:
            update_one(row, values, update=update)

    return adam


def _threads() -> int:
    """Return how many XLA functions can run at once."""
    return min(tf.config.threading.get_inter_op_parallelism_threads() or processors(), FED_THREADS)


def _chunks(rows: Iterable[Row]) -> list[list[Row]]:
    """Return small rows in chunks that are concatenated, in their order."""
    chunks: list[list[Row]] = []
    elements = 0
    for row in rows:
        elements += _elements(row)
        if not chunks or elements > CHUNK:
            chunks.append([])
            elements = _elements(row)
        chunks[-1].append(row)
    return chunks


def _update_together(rows: Sequence[Row], values: Scalars, update: Callable[..., Any]) -> None:
    """Update small rows in a graph, chunk by chunk, so that not all of them are copied at the same time."""
    done: list[list[Any]] = [[]] * CHAINS
    for position, chunk in enumerate(_chunks(rows)):
        # In a graph, what could begin at once does.
        with tf.control_dependencies(done[position % CHAINS]):
            done[position % CHAINS] = [tf.group(*_update_concatenated(chunk, values, update))]


def _update_concatenated(rows: Sequence[Row], values: Scalars, update: Callable[..., Any]) -> list[Any]:
    """Update small rows as one; raw operations, because with many rows each costs tracing time and a launch."""
    kind = values.alpha.dtype
    rows = [_dense(row, kind) for row in rows]
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
    sizes, written = [shape.num_elements() for shape in shapes], []
    for targets, result in zip((columns[0], *columns[2:5]), results, strict=True):
        if result is None:
            continue
        for target, part, shape in zip(targets, tf.split(result, sizes), shapes, strict=True):
            value = part if shape.rank == 1 else tf.reshape(part, shape)
            value = value if target.dtype == kind else tf.cast(value, target.dtype)
            written.append(tf.raw_ops.AssignVariableOp(resource=target.handle, value=value))
    return written


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


def _elements(row: Row) -> int:
    return int(row.variable.shape.num_elements())


def _program(row: Row, kind: Any, elements: int) -> Any:
    """Return the XLA function for one of several variables that have so many elements together."""
    # What is more than one thread's share is left to XLA, whose loops over whole arrays use all threads.
    in_blocks = _elements(row) * _threads() <= elements
    return _compiled(tuple(row.variable.shape), kind, row.vhat is not None, in_blocks)


def _unknown(iterations: Any, kind: Any) -> tuple[Any, Any]:
    """Return a `negative_zero` and False, which a program takes as values that XLA cannot know."""
    return negative_zero(iterations, kind), tf.cast(iterations, tf.int64) < 0


class Part(NamedTuple):
    """Hold a part of an eager step that is not traced.

    Attributes:
        rows: the variables that are updated, with their gradients and their state.
        apply: makes the update.
        operations: how many operations of TensorFlow that takes; 2 stands for several.
    """

    rows: Sequence[Row]
    apply: Callable[[], Any]
    operations: int


def _singly(
    rows: Sequence[Row],
    values: Scalars,
    decay: Decay | None,
    iterations: Any,
    assign: Callable[[Any, Any], Any],
    first: FirstSteps,
) -> Iterator[Part]:
    """Return the updates of large variables in a first step, each in the best form that there is time for."""
    kind, decaying = values.alpha.dtype, decay is not None
    plain, elements = decaying_update(PLAIN, decay), sum(map(_elements, rows))
    rest = []
    for row in sorted(rows, key=_elements, reverse=True):
        if elements >= WORTH_COMPILING and _compilable(row, kind) and not _sparse(row):
            adam = _program(row, kind, elements)
            if first.program((adam, row.gradient.dtype, row.variable.device, decaying)):
                yield Part([row], partial(within(adam), row, values, decay, *_unknown(iterations, kind)), 1)
                continue
        rest.append(row)
    at_once = elements + ANOTHER * len(rows) >= WORTH_TRACING
    for row in rest:
        if not _sparse(row):
            kinds = row.variable.dtype, row.gradient.dtype, kind
            if first.formula((*kinds, row.vhat is not None, decaying), at_once=at_once):
                yield Part([row], in_place.prepare(row, values, decay), 1)
                continue
        yield Part([row], partial(_update_plainly, row, values, plain, assign), 2)


def _update_plainly(row: Row, values: Scalars, update: Callable[..., Any], assign: Callable[[Any, Any], Any]) -> None:
    update_one(_dense(row, values.alpha.dtype), values, update=update, assign=assign)


def _update_separately(
    rows: Sequence[Row],
    values: Scalars,
    decay: Decay | None,
    iterations: Any,
    assign: Callable[[Any, Any], Any],
    compiles: bool,
) -> None:
    """Update variables one after the other, in a graph that may call programs, or eagerly without."""
    kind, plain, elements = values.alpha.dtype, decaying_update(PLAIN, decay), sum(map(_elements, rows))
    compiled = [row for row in rows if _compilable(row, kind)] if compiles and elements >= WORTH_COMPILING else []
    if compiled:
        rows = [row for row in rows if not _compilable(row, kind)]
        unknown = _unknown(iterations, kind)
    # The largest first: so all threads end at about the same time.
    for row in sorted(compiled, key=_elements, reverse=True):
        adam = _program(row, kind, elements)
        with tf.device(row.variable.device):
            if _sparse(row):
                _update_touched(row, values, plain, lambda rest: adam(rest, values, decay, *unknown))  # noqa: B023
            else:
                adam(row, values, decay, *unknown)
    for row in rows:
        _update_plainly(row, values, plain, assign)


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
    parts: list[Part] = []
    for (kind, _, decaying), group in groups.items():
        values = scalars(numerics, hyper, step, kind)
        decay = decay_of(hyper, kind, product=product) if decaying else None
        if inside_xla:
            zero = negative_zero(iterations, kind)
            # The original's own maximum loses a NaN there, too.
            update = decaying_update(barred(zero)._replace(maximum=tf.maximum), decay)
            for row in group:
                update_one(_dense(row, kind, zero), values, update=update, assign=assign)
            continue
        small = [row for row in group if whole and _elements(row) <= SMALL]
        large = group if len(small) < 2 else [row for row in group if _elements(row) > SMALL]
        if len(small) > 1:
            plain = decaying_update(PLAIN, decay)
            # Sparse gradients have squares of their own.
            for rows in ([row for row in small if not _sparse(row)], [row for row in small if _sparse(row)]):
                if first is None:
                    _update_together(rows, values, plain)
                    continue
                chunks = _chunks(rows)
                first.together(len(rows), len(chunks))
                parts += [Part(chunk, partial(_update_concatenated, chunk, values, plain), 2) for chunk in chunks]
        if first is None:
            _update_separately(large, values, decay, iterations, assign, compiles=whole and not eager)
        else:
            parts += _singly(large, values, decay, iterations, assign, first)
    if first is not None:
        _make(parts, first)


def _make(parts: Sequence[Part], first: FirstSteps) -> None:
    """Make the parts of a step; each is made once, even where another fails and the step is made again."""
    if not all(row.gradient.dtype in FLOATS for part in parts for row in part.rows):
        # A gradient that is not to be cast is found when others have been applied.
        first.keep_to_the_end()
    # What is not held while it is written comes last, and the largest of it first: when that had memory enough, so has
    # the rest.
    for part in sorted(parts, key=lambda part: (part.operations == 1, -_elements(part.rows[0]))):
        # XLA compiles for a device, and takes no variables of another.
        with unrecorded(), tf.device(part.rows[0].variable.device):
            first.once([one for row in part.rows for one in row.targets], part.apply, part.operations)


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
                "beta1": beta_of(hyper.beta1, kind),
                "beta2": beta_of(hyper.beta2, kind),
                "epsilon": number(hyper.epsilon, kind),
            }
        # The kernel aborts the process on a gradient of another dtype.
        handles = {"var": row.variable.handle, "m": row.m.handle, "v": row.v.handle}
        gradient = tf.cast(row.gradient, kind)
        if row.vhat is None:
            tf.raw_ops.ResourceApplyAdam(grad=gradient, **handles, **cast[kind])
        else:
            tf.raw_ops.ResourceApplyAdamWithAmsgrad(grad=gradient, vhat=row.vhat.handle, **handles, **cast[kind])
