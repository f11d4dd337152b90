"""Types and checks of the arguments that a TensorFlow adapter is called with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import operations, sparse

# A number, a tensor, a LearningRateSchedule or a callable of nothing; in MindSpore's call also a list
# or a callable of the step.
LearningRate: TypeAlias = float | Sequence[float] | Callable[..., Any] | Any
Beta: TypeAlias = float | Callable[[], Any] | Any
Decay: TypeAlias = float | Callable[..., Any]
# Variables of TensorFlow or Keras, or groups of them.
Parameters: TypeAlias = Iterable[Any] | Iterable[Mapping[str, Any]]

# Types of values that cannot change without being set anew.
FIXED = (bool, int, float, type(None), np.bool_, np.number)
_LARGEST = float(np.finfo(np.float32).max)
NO_GRADIENTS = (
    "No gradients provided for any variable: every gradient is None. Check that the loss is computed from the "
    "variables, inside the GradientTape"
)


def dialect_of(adapter: Adapter) -> Dialect:
    """Return the dialect that an adapter speaks."""
    return MAPPING.dialects[adapter.dialect]


class Moments(NamedTuple):
    """Name one variable's state under a dialect.

    Attributes:
        m: the first moment.
        v: the second moment.
        vhat: the maximum of the second moments.
    """

    m: str
    v: str
    vhat: str


def moments_of(dialect: Dialect) -> Moments:
    """Return a dialect's names of the moments, by which ``get_slot`` finds them."""
    names = dialect.slot_names
    return Moments(names["first_moment"], names["second_moment"], names["maximum_second_moment"])


def is_tensor(value: Any) -> bool:
    """Return whether TensorFlow or Keras holds the value, so that it cannot be looked at now."""
    return tf.is_tensor(value) or isinstance(value, tf.Variable) or hasattr(value, "_value")


def raw(variable: Any) -> Any:
    """Return the tf.Variable of a variable of Keras; return anything else as it is."""
    return variable.value if hasattr(variable, "path") else variable


def is_number(value: Any) -> bool:
    """Return whether a value is a plain Python number that float32 can hold, infinity and NaN included.

    NumPy's numbers and tensors bring a dtype along, and so change what they are computed with.
    """
    if type(value) is float:
        return not _LARGEST < abs(value) < math.inf
    return type(value) is int and abs(value) <= 2**24


def is_scalar(value: Any) -> bool:
    """Return whether a learning rate is one number: Python's own, or in a tensor or variable without axes."""
    return value.shape.rank == 0 if isinstance(value, (tf.Tensor, tf.Variable)) else is_number(value)


def stand_still(*betas: Any) -> bool:
    """Return whether the original does not train bfloat16 variables with one of these betas, which becomes 1 there.

    A beta that is known only when a graph runs may be one of them.
    """
    return any(_as_bfloat16(beta() if callable(beta) else beta) == 1 for beta in betas)


def _as_bfloat16(beta: Any) -> Any:
    if isinstance(beta, tf.Variable):
        beta = beta.read_value() if tf.executing_eagerly() else None
    value = tf.get_static_value(beta) if tf.is_tensor(beta) else beta
    try:
        return tf.bfloat16.as_numpy_dtype(1 if value is None else value)
    except (TypeError, ValueError):  # the original will refuse it
        return None


def refuse_no_gradients(gradients: Iterable[Any]) -> None:
    """Refuse a step in which every gradient is None; a step without gradients passes.

    Raises:
        ValueError: every gradient is None.
    """
    found = list(gradients)
    if found and all(gradient is None for gradient in found):
        raise ValueError(NO_GRADIENTS)


def refuse_session(original: str, adapter: Adapter) -> None:
    """Refuse to build a step in a graph that runs in a Session, where `original` would update nothing.

    Args:
        original: the library whose optimizer ours is.
        adapter: the class of ours.

    Raises:
        RuntimeError: operations go to such a graph now.
    """
    if operations.in_session_graph():
        raise RuntimeError(
            f"{adapter.module}.{adapter.name} needs eager execution or tf.function: in a graph that runs in a Session, "
            f"{original}'s optimizer would update nothing. Use adamcompat.tensorflow.v1.AdamOptimizer there, or "
            f"adamcompat.tensorflow.legacy.Adam, which have no decoupled weight decay"
        )


def check_gradient(gradient: Any, variable: Any) -> None:
    """Refuse an eager gradient that TensorFlow's kernels would refuse, before any of them has run.

    Args:
        gradient: a tensor or IndexedSlices.
        variable: the tf.Variable that it belongs to.

    Raises:
        InvalidArgumentError: its shape is another one, it has not one index for each row, or it names a row that the
            variable does not have.
    """
    wanted, rows = tf.TensorShape(variable.shape), isinstance(gradient, tf.IndexedSlices)
    values = gradient.values if rows else gradient
    shape = tf.TensorShape(np.shape(values))
    if rows:
        wanted = shape[:1].concatenate(wanted[1:])
    if not shape.is_compatible_with(wanted):
        raise _invalid(
            f"the gradient of {variable.name} has shape {tuple(shape)}, but {tuple(wanted)} is needed: the update of a "
            f"variable does not broadcast"
        )
    if rows and not sparse.well_formed(gradient, tf.TensorShape(variable.shape)):
        raise _invalid(
            f"the gradient of {variable.name} has {tuple(shape)[:1]} rows and indices of shape "
            f"{np.shape(gradient.indices)} and dtype {np.asarray(gradient.indices).dtype}; it needs one index of "
            f"int32 or int64 for each row"
        )
    if not _is_real(values):
        raise _invalid(f"the gradient of {variable.name} must hold numbers, got {tf.as_dtype(values.dtype).name}")
    check_rows(gradient, variable, least=0)


def check_rows(gradient: Any, variable: Any, *, least: int | None = None) -> None:
    """Refuse an eager gradient that names a row which its variable does not have.

    Args:
        gradient: IndexedSlices; anything else passes.
        variable: the tf.Variable that it belongs to.
        least: the first row that there is; None where TensorFlow leaves out what is below.

    Raises:
        InvalidArgumentError: a row number is below `least`, or not below the number of rows. Variables on other devices
            than the CPU pass.
    """
    # On other devices TensorFlow passes over such rows without a word.
    if not isinstance(gradient, tf.IndexedSlices) or "CPU" not in getattr(variable, "device", ""):
        return
    indices = np.asarray(gradient.indices)
    if not indices.size:
        return
    low, high = int(indices.min()), int(indices.max())
    below = least is not None and low < least
    if below or high >= variable.shape[0]:
        raise _invalid(
            f"the gradient of {variable.name} names row {low if below else high}, but its rows run from 0 to "
            f"{variable.shape[0] - 1}"
        )


def _is_real(values: Any) -> bool:
    dtype = getattr(values, "dtype", None)
    if dtype is None:
        return True
    kind = tf.as_dtype(dtype)
    return bool(kind.is_floating or kind.is_integer or kind.is_bool or kind.is_complex)


def _invalid(text: str) -> Exception:
    error: Exception = tf.errors.InvalidArgumentError(None, None, text)
    return error
