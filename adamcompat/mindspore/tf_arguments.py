"""Read the learning rates of classes with TensorFlow's call, and gradients as arrays over their own memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn

from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.gradients import rows_of
from adamcompat.mindspore.memory import settle, view
from adamcompat.numpy.arrays import RowSparse
from adamcompat.schedules import takes_step

# The dtypes of gradients that NumPy has too.
SEEN = {dtype: storage.raw for dtype, storage in STORAGE.items() if storage.raw == storage.own}


def raw(tensor: Any) -> Any:
    """Return the memory of a Tensor as an array; integers for bfloat16."""
    dtype = STORAGE[tensor.dtype].raw if tensor.dtype in STORAGE else np.dtype(np.int64)
    return view(tensor.data_ptr(), tensor.shape, dtype)


def _number(value: Any) -> Any:
    return value.asnumpy() if isinstance(value, Tensor) else value


def plain(value: Any) -> Any:
    """Return a learning rate as the NumPy runtime takes it; callables of the step get a Tensor, as in a graph.

    Args:
        value: a number, a list, a Tensor, a Cell of the step, or a callable of the step or of nothing.
    """
    if isinstance(value, nn.Cell):
        return lambda step: _number(value(Tensor(np.array([step], np.int32))))
    if callable(value) and not isinstance(value, Tensor):
        if takes_step(value):
            return lambda step: _number(value(Tensor(float(step), mindspore.float64)))
        return lambda: _number(value())
    return _number(value)


def of_step(value: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable that takes the step; where the given one takes nothing, the step is ignored."""
    if isinstance(value, nn.Cell) or takes_step(value):
        return value

    def ignoring(step: Any) -> Any:
        return value()

    return ignoring


def fitting(gradient: Any, name: str, wrong_type: type[Exception]) -> Any:
    """Return a gradient as a Tensor whose elements lie one after the other, or as RowSparse; None as it is.

    Whole numbers become float64, and bfloat16 becomes float32.

    Args:
        gradient: a Tensor, rows, or None.
        name: of its variable, for errors.
        wrong_type: the exception for what holds no real numbers.

    Raises:
        Exception: of the type `wrong_type`, where the gradient is anything else, or holds no real numbers.
    """
    if gradient is None:
        return None
    rows = rows_of(gradient)
    if rows is not None:
        values = fitting(rows.values, name, wrong_type)
        settle()
        return RowSparse(rows.indices.asnumpy(), seen(values).copy())
    if not isinstance(gradient, Tensor):
        raise wrong_type(
            f"the gradient of {name!r} must be a Tensor, got {type(gradient).__name__}: wrap it in Tensor(...)"
        )
    if gradient.dtype not in STORAGE:
        if not str(gradient.dtype).startswith(("Int", "UInt")):
            raise wrong_type(f"the gradient of {name!r} must hold real numbers, got {gradient.dtype}")
        gradient = gradient.astype(mindspore.float64)
    elif gradient.dtype == mindspore.bfloat16:
        gradient = gradient.astype(mindspore.float32)
    if gradient.has_init:
        gradient = gradient.init_data()
    return gradient if gradient.is_contiguous() else gradient.contiguous()


def seen(gradient: Any) -> Any:
    """Return a Tensor as an array over its own memory; return anything else as it is."""
    return raw(gradient) if isinstance(gradient, Tensor) else gradient
