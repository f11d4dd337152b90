"""The update of one variable as one call of a traced function, which writes into its memory.

An eager operation takes fresh memory for its result; in a graph, one result is written over another. The function
takes the handles of variables, so that nothing outside of it holds their values while they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import tensorflow as tf

from adamcompat.tensorflow.operations import PLAIN
from adamcompat.tensorflow.terms import Decay, Row, Scalars, decaying_update


class Place:
    """Stand for the value of a variable in a formula; a sum or difference that starts with it changes the variable.

    Args:
        handle: of the variable.
        dtype: of the variable.
    """

    def __init__(self, handle: Any, dtype: Any) -> None:
        self._handle = handle
        self._dtype = dtype

    def read(self) -> Any:
        """Return the value as a tensor."""
        return tf.raw_ops.ReadVariableOp(resource=self._handle, dtype=self._dtype)

    def write(self, value: Any) -> None:
        """Replace the value.

        Args:
            value: a tensor of any dtype.
        """
        tf.raw_ops.AssignVariableOp(resource=self._handle, value=tf.cast(value, self._dtype))

    def add(self, value: Any) -> Place:
        """Add a tensor of the variable's dtype, and return the place."""
        tf.raw_ops.AssignAddVariableOp(resource=self._handle, value=value)
        return self

    def __sub__(self, value: Any) -> Place:
        tf.raw_ops.AssignSubVariableOp(resource=self._handle, value=value)
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
        places = list(map(Place, handles, kinds))
        gradient = tf.cast(gradient, kind)
        if set(kinds) == {kind}:
            p, m, v, *largest = places
            vhat = largest[0].read() if largest else None
            *_, vhat = decaying_update(_IN_PLACE, decay)(p, gradient, m, v, vhat, *values, None)
            if largest:
                largest[0].write(vhat)
            return
        p, m, v, *vhat = (tf.cast(place.read(), kind) for place in places)
        results = decaying_update(PLAIN, decay)(p, gradient, m, v, *(vhat or [None]), *values, None)
        for place, result in zip(places, results, strict=False):
            place.write(result)

    handles, decay = [handle] * len(kinds), Decay(scalar, scalar) if decaying else None
    return adam.get_concrete_function(handles, tf.TensorSpec(None, gradient_kind), Scalars(*[scalar] * 4), decay)


def prepare(row: Row, values: Scalars, decay: Decay | None) -> Callable[[], Any]:
    """Return a function that updates one variable and its state by one call, on the variable's device.

    Args:
        row: the variable, with a dense gradient.
        values: the scalars of this step, whose dtype is that of the arithmetic.
        decay: the numbers of the decay of the variable; None where it does not decay.
    """
    kind, gradient = values.alpha.dtype, tf.convert_to_tensor(row.gradient)
    targets = [one for one in (row.variable, row.m, row.v, row.vhat) if one is not None]
    adam = _traced(tuple([one.dtype for one in targets]), gradient.dtype, kind, decay is not None)
    numbers = () if decay is None else [tf.convert_to_tensor(one, kind) for one in decay]
    given = [*(one.handle for one in targets), gradient, *values, *numbers]
    return partial(adam._call_flat, given, adam.captured_inputs)
