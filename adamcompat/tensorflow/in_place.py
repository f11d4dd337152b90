"""The update of one variable as one call of a traced function, which writes into its memory.

An eager operation takes fresh memory for its result; in a graph, one result is written over another. The function
takes the handles of variables, so that nothing outside of it holds their values while they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import chain
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute

from adamcompat.tensorflow.operations import PLAIN
from adamcompat.tensorflow.terms import Decay, Row, Scalars, decaying_update


class Place:
    """Stand for the value of a variable in a formula; a sum or difference that starts with it changes the variable.

    Args:
        handle: of the variable.
        dtype: of the variable.
        before: the last operations of the formula that others wait for, shared by all of its places. Written and read
            in the order of the formula, values need little memory at the same time.
    """

    def __init__(self, handle: Any, dtype: Any, before: list[Any]) -> None:
        self._handle = handle
        self._dtype = dtype
        self._before = before

    def read(self) -> Any:
        """Return the value as a tensor."""
        with tf.control_dependencies(self._before):
            return tf.raw_ops.ReadVariableOp(resource=self._handle, dtype=self._dtype)

    def write(self, value: Any) -> None:
        """Replace the value.

        Args:
            value: a tensor of the variable's dtype.
        """
        tf.raw_ops.AssignVariableOp(resource=self._handle, value=value)

    def add(self, value: Any) -> Place:
        """Add a tensor of the variable's dtype, and return the place."""
        self._before[:] = [tf.raw_ops.AssignAddVariableOp(resource=self._handle, value=value)]
        return self

    def __sub__(self, value: Any) -> Place:
        self._before[:] = [tf.raw_ops.AssignSubVariableOp(resource=self._handle, value=value)]
        return self

    def __rsub__(self, value: Any) -> Any:
        return value - self.read()

    def __neg__(self) -> Any:
        return -self.read()

    def __mul__(self, value: Any) -> Any:
        return self.read() * value

    def __rmul__(self, value: Any) -> Any:
        return value * self.read()


def _value(x: Any) -> Any:
    return x.read() if isinstance(x, Place) else x


def _sum(a: Any, b: Any, c: Any) -> Any:
    return c.add(a * b) if isinstance(c, Place) else PLAIN.fma(a, b, c)


_IN_PLACE = PLAIN._replace(
    fma=_sum, sqrt=lambda x: tf.sqrt(_value(x)), maximum=lambda a, b: tf.maximum(_value(a), _value(b))
)


@cache
def _traced(kinds: tuple[Any, ...], gradient_kind: Any, kind: Any, decaying: bool) -> Any:
    """Return the update of one variable of any shape as a traced function.

    Args:
        kinds: the dtypes of variable and moments, and of the maximum of the second moments where there is one.
        gradient_kind: the dtype of the gradient.
        kind: the dtype of the arithmetic.
        decaying: whether the variable decays.
    """
    handle, scalar = tf.TensorSpec([], tf.resource), tf.TensorSpec([], kind)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def adam(handles: Sequence[Any], gradient: Any, values: Scalars, decay: Decay | None) -> None:
        gradient = tf.cast(gradient, kind)
        before: list[Any] = []
        places = [Place(one, own, before) for one, own in zip(handles, kinds, strict=True)]
        if set(kinds) == {kind}:
            p, m, v, *largest = places
            vhat = largest[0].read() if largest else None
            *_, vhat = decaying_update(_IN_PLACE, decay)(p, gradient, m, v, vhat, *values, None)
            if largest:
                largest[0].write(vhat)
            return
        p, m, v, *vhat = (tf.cast(place.read(), kind) for place in places)
        results = decaying_update(PLAIN, decay)(p, gradient, m, v, *(vhat or [None]), *values, None)
        new = [tf.cast(result, own) for result, own in zip(results, kinds, strict=False)]
        with tf.control_dependencies(new):
            for place, value in zip(places, new, strict=True):
                place.write(value)

    handles, decay = [handle] * len(kinds), Decay(scalar, scalar) if decaying else None
    return adam.get_concrete_function(handles, tf.TensorSpec(None, gradient_kind), Scalars(*[scalar] * 4), decay)


@cache
def _attributes(config: bytes, executor: str | None) -> tuple[Any, ...]:
    """Return the attributes of a call of a function whose graph is run as it was traced.

    TensorFlow rewrites the graph of a function before its first call, which takes longer than a few calls save.

    Args:
        config: the options that a function is called with otherwise.
        executor: the name of the executor that it is called with.
    """
    changed = tf.compat.v1.ConfigProto.FromString(config)
    changed.graph_options.rewrite_options.disable_meta_optimizer = True
    return tuple(chain.from_iterable(context.FunctionCallOptions(executor, changed).as_attrs().items()))


def prepare(row: Row, values: Scalars, decay: Decay | None) -> Callable[[], Any]:
    """Return a function that updates one variable and its state by one call, on the variable's device.

    Args:
        row: the variable, with a dense gradient.
        values: the scalars of this step, whose dtype is that of the arithmetic.
        decay: the numbers of the decay of the variable; None where it does not decay.

    Raises:
        tf.errors.ResourceExhaustedError: memory lacks for the update.
    """
    kind, gradient = values.alpha.dtype, tf.convert_to_tensor(row.gradient)
    adam = _traced(tuple([one.dtype for one in row.targets]), gradient.dtype, kind, decay is not None)
    numbers = () if decay is None else [tf.convert_to_tensor(one, kind) for one in decay]
    given = [*(one.handle for one in row.targets), gradient, *values, *numbers]
    # Allocated, and freed untouched: what the formula needs after its first write. Where memory lacks, this fails
    # before anything is written.
    with tf.device(row.variable.device):
        tf.raw_ops.Empty(shape=[len(row.targets) - 1, *row.variable.shape], dtype=kind)
    options = context.context().function_call_options
    attributes = _attributes(options.config_proto_serialized, options.executor_type)
    return partial(
        execute.quick_execute, adam.name.decode(), 0, [*given, *adam.captured_inputs], attributes, context.context()
    )
