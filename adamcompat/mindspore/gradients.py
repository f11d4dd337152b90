"""What is wrong with gradients, and how those that need conversion are brought into order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import mindspore
from mindspore import Tensor, ops
from mindspore.common.sparse_tensor import RowTensorInner

from adamcompat.hyperparameters import exception
from adamcompat.mapping.model import Dialect
from adamcompat.mindspore.operations import SEPARATE
from adamcompat.stages import make_stages

_multiply, _, add_decay, _, _subtract, _ = make_stages(SEPARATE, ops.minimum)

_RANK = {mindspore.float16: 1, mindspore.bfloat16: 1, mindspore.float32: 2, mindspore.float64: 3}


class Rows(NamedTuple):
    """A gradient that holds some rows only; repeated rows add up."""

    indices: Any
    values: Any


def rows_of(gradient: Any) -> Rows | None:
    """The rows of a sparse gradient: a RowTensor, or the triple that compiled functions return; else None."""
    if isinstance(gradient, RowTensorInner):
        return Rows(gradient.indices, gradient.values)
    if isinstance(gradient, tuple) and len(gradient) == 3 and isinstance(gradient[2], tuple):
        return Rows(gradient[0], gradient[1])
    return None


def densified(rows: Rows, shape: tuple[int, ...]) -> Any:
    """A gradient of some rows as a Tensor of `shape`; repeated rows add up."""
    return ops.unsorted_segment_sum(rows.values, rows.indices, shape[0])


def check(gradients: Any, parameters: Sequence[Any], dialect: Dialect) -> None:
    """Explain what is wrong with gradients.

    Raises:
        TypeError: they are no tuple of Tensors, or of a dtype that would lose digits.
        ValueError: their number or a shape is wrong.
    """
    wrong_type, wrong = exception(dialect.errors.wrong_type), exception(dialect.errors.wrong_gradients)
    if not isinstance(gradients, (tuple, list)):
        raise wrong_type(
            f"gradients must be a tuple with one Tensor for each parameter, got {type(gradients).__name__}"
        )
    if len(gradients) != len(parameters):
        raise wrong(
            f"got {len(gradients)} gradients for {len(parameters)} parameters; differentiate with respect to "
            f"optimizer.parameters"
        )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        rows = rows_of(gradient)
        tensor = gradient if rows is None else rows.values
        if not isinstance(tensor, Tensor):
            raise wrong_type(
                f"the gradient of {parameter.name!r} must be a Tensor, got {type(gradient).__name__}"
                + (
                    "; pass ops.zeros_like(parameter) if it has none"
                    if gradient is None
                    else ": wrap it in Tensor(...)"
                )
            )
        expected = parameter.shape if rows is None else (*rows.indices.shape, *parameter.shape[1:])
        if tensor.shape != expected:
            raise wrong(_wrong_shape(parameter, tensor, expected))
        if rows is not None and rows.indices.size:
            least, most = int(rows.indices.min()), int(rows.indices.max())
            if least < 0 or most >= parameter.shape[0]:
                raise wrong(
                    f"the gradient of {parameter.name!r} names row {least if least < 0 else most}, but rows run from "
                    f"0 to {parameter.shape[0] - 1}"
                )
        if _RANK.get(tensor.dtype, 0) > _RANK[parameter.dtype] or tensor.dtype.__str__().startswith("Complex"):
            raise wrong_type(
                f"the gradient of {parameter.name!r} is {tensor.dtype}, but the parameter is {parameter.dtype}; "
                f"convert it with gradient.astype(parameter.dtype)"
            )


def _wrong_shape(parameter: Any, tensor: Any, expected: tuple[int, ...]) -> str:
    text = f"the gradient of {parameter.name!r} has shape {tensor.shape}, but {expected} is needed"
    if tensor.ndim == len(expected) > 1 and tensor.shape[1:] == expected[1:]:
        text += (
            "; if it comes from an embedding with sparse=True, MindSpore loses the row numbers in PYNATIVE mode: "
            "differentiate in a function under mindspore.jit, or set sparse=False"
        )
    return text


def prepared(
    gradient: Any, parameter: Any, decay: Any, reciprocal: Any, stages: Sequence[str], *, centralize: bool
) -> Any:
    """A gradient after the stages of a step, in the order and the dtypes of nn.Adam, as its parameter's dtype.

    Args:
        gradient: dense.
        parameter: what it belongs to.
        decay: a Tensor, or None.
        reciprocal: of the loss scale, a Tensor, or None.
        stages: the order.
        centralize: whether to subtract the mean over all axes but the first.
    """
    exact = gradient.dtype in _RANK
    if decay is not None or not exact:
        gradient = gradient.astype(parameter.dtype)
    for stage in stages:
        if stage == "l2_decay" and decay is not None:
            gradient = add_decay(gradient, parameter, decay.astype(parameter.dtype))
        elif stage == "centralize" and centralize:
            gradient = centralized(gradient)
        elif stage == "unscale" and reciprocal is not None:
            gradient = _multiply(gradient, parameter, reciprocal.astype(gradient.dtype))
    return gradient.astype(parameter.dtype).contiguous()


def centralized(gradient: Any) -> Any:
    """A gradient without its mean over all axes but the first; those with one axis are left alone."""
    if gradient.ndim < 2:
        return gradient
    means = ops.mean(gradient, tuple(range(1, gradient.ndim)), True)
    return _subtract(gradient, None, means)
