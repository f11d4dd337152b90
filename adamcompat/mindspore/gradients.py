"""Say what is wrong with gradients, and bring those into order that need conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mindspore
from mindspore import Tensor, ops
from mindspore.common.sparse_tensor import RowTensorInner

from adamcompat.hyperparameters import exception
from adamcompat.interpreter import Interpreter, StepNumbers, value_of
from adamcompat.mapping.model import Dialect
from adamcompat.mindspore.notes import say_once
from adamcompat.mindspore.operations import SEPARATE
from adamcompat.program import ADD_DECAY, SUBTRACT, Instruction, Scalar
from adamcompat.stages import make_stages

_STAGES = make_stages(SEPARATE, ops.minimum)
add_decay, _subtract = _STAGES[ADD_DECAY], _STAGES[SUBTRACT]

COMPLEX = (mindspore.complex64, mindspore.complex128)
_RANK = {mindspore.float16: 1, mindspore.bfloat16: 1, mindspore.float32: 2, mindspore.float64: 3}


class Refusals(NamedTuple):
    """Name what an original does with gradients that are not quite what it asks for.

    Attributes:
        no_tuple: the exception that it raises for gradients that are no tuple.
        no_tensor: the exception that it raises for None or a number in the place of a gradient.
        converts: whether it converts gradients of every dtype to the Parameter's.
    """

    no_tuple: type[Exception]
    no_tensor: type[Exception]
    converts: bool


class Rows(NamedTuple):
    """Hold a gradient of some rows only; repeated rows add up.

    Attributes:
        indices: the row numbers, a Tensor of integers with one axis.
        values: a Tensor with one row for each index.
    """

    indices: Any
    values: Any


def rows_of(gradient: Any) -> Rows | None:
    """Return the rows of a sparse gradient; None for any other gradient.

    Args:
        gradient: a RowTensor, or the triple of indices, values and shape that compiled functions return; or anything
            else.
    """
    if isinstance(gradient, RowTensorInner):
        return Rows(gradient.indices, gradient.values)
    if isinstance(gradient, tuple) and len(gradient) == 3 and isinstance(gradient[2], tuple):
        return Rows(gradient[0], gradient[1])
    return None


def densified(rows: Rows, shape: tuple[int, ...]) -> Any:
    """Return a gradient of some rows as a Tensor of `shape`; repeated rows add up."""
    return ops.unsorted_segment_sum(rows.values, rows.indices, shape[0])


def say_real_part(dialect: Dialect) -> None:
    """Warn, once a process, that the original leaves out a part of complex gradients."""
    say_once(
        f"{dialect.target} updates with the real part of complex gradients and leaves out the imaginary part without a "
        f"word, and so does this drop-in: pass gradients of real numbers"
    )


def check(
    gradients: Any, parameters: Sequence[Any], dialect: Dialect, refusals: Refusals, numbers: Sequence[bool]
) -> None:
    """Refuse gradients that do not fit, and say what is wrong with them.

    Args:
        gradients: what the optimizer was called with.
        parameters: the Parameters that they belong to, in the same order.
        dialect: the facts of the original; its exceptions are raised.
        refusals: what else the original raises.
        numbers: whether each Parameter of one element takes a single number without axes as its gradient.

    Raises:
        RuntimeError: they are too few or too many.
        ValueError: the shape of one is wrong.
        TypeError: one is no Tensor, or of a dtype that would lose digits.
        What `refusals` say.
    """
    wrong_type, wrong = exception(dialect.errors.wrong_type), exception(dialect.errors.wrong_gradients)
    if not isinstance(gradients, (tuple, list)):
        raise refusals.no_tuple(
            f"gradients must be a tuple with one Tensor for each parameter, got {type(gradients).__name__}"
        )
    if len(gradients) != len(parameters):
        # As the Map of MindSpore.
        raise RuntimeError(
            f"got {len(gradients)} gradients for {len(parameters)} parameters; differentiate with respect to "
            f"optimizer.parameters"
        )
    for parameter, gradient, number in zip(parameters, gradients, numbers, strict=True):
        rows = rows_of(gradient)
        tensor = gradient if rows is None else rows.values
        if tensor is None:
            raise refusals.no_tensor(
                f"the gradient of {parameter.name!r} is None; pass ops.zeros_like(parameter) if it has none"
            )
        if not isinstance(tensor, Tensor):
            kind = refusals.no_tensor if isinstance(tensor, (bool, int, float)) else wrong_type
            raise kind(
                f"the gradient of {parameter.name!r} must be a Tensor, got {type(gradient).__name__}: "
                f"wrap it in Tensor(...)"
            )
        expected = parameter.shape if rows is None else (*rows.indices.shape, *parameter.shape[1:])
        if tensor.shape != expected and not (number and (tensor.shape, expected) == ((), (1,))):
            raise wrong(_wrong_shape(parameter, tensor, expected))
        if rows is not None and rows.indices.size:
            least, most = int(rows.indices.min()), int(rows.indices.max())
            if least < 0 or most >= parameter.shape[0]:
                raise wrong(
                    f"the gradient of {parameter.name!r} names row {least if least < 0 else most}, but rows run from "
                    f"0 to {parameter.shape[0] - 1}"
                )
        if parameter.dtype not in _RANK:
            raise wrong_type(
                f"the parameter {parameter.name!r} is {parameter.dtype}, but only {', '.join(map(str, _RANK))} can be "
                f"updated; leave it out of the optimizer"
            )
        if refusals.converts:
            if tensor.dtype in COMPLEX:
                say_real_part(dialect)
            continue
        if _RANK.get(tensor.dtype, 0) > _RANK[parameter.dtype] or tensor.dtype in COMPLEX:
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


class _Prepared(Interpreter):
    """Take pairs of a gradient and its parameter through the stages, in the dtypes of nn.Adam.

    Args:
        numbers: those of the step, Tensors.
        centralize: whether to subtract the mean over all axes but the first.
    """

    stepwise = True

    def __init__(self, numbers: StepNumbers, *, centralize: bool) -> None:
        self._numbers = numbers
        self._centralize = centralize

    def elementwise(self, lane: Any, code: int, a: Scalar, b: Scalar) -> Any:
        """See `Interpreter`.

        Args:
            lane: the lane.
            code: the stage, one of the constants of `program`.
            a: its first scalar.
            b: its second scalar.
        """
        (gradient, parameter), number = lane, value_of(a, self._numbers)
        if number is None:
            return lane
        dtype = parameter.dtype if code == ADD_DECAY else gradient.dtype
        return _STAGES[code](gradient, parameter, number.astype(dtype)), parameter

    def centralized(self, lane: Any) -> Any:
        """See `Interpreter`."""
        return (centralized(lane[0]), lane[1]) if self._centralize else lane


def prepared(
    gradient: Any,
    parameter: Any,
    decay: Any,
    reciprocal: Any,
    instructions: Sequence[Instruction],
    *,
    centralize: bool,
    leave_integers: Callable[[bool], bool],
) -> Any:
    """Return a gradient after the stages of a step, which run in the order and the dtypes of nn.Adam.

    Args:
        gradient: a dense Tensor of any dtype.
        parameter: the Parameter that it belongs to, or the rows of it, of the same shape.
        decay: the L2 decay, a Tensor, or None where there is none.
        reciprocal: of the loss scale, a Tensor, or None where there is none.
        instructions: the stages of the program, in order.
        centralize: whether to subtract the mean over all axes but the first.
        leave_integers: asked about a gradient of integers or truth values, where the reciprocal is not 0 in its dtype.
            It takes whether the numbers may be others than those of a gradient of real numbers, and returns whether to
            multiply in the gradient's own dtype, as nn.Adam does.

    Returns:
        A contiguous Tensor of the Parameter's dtype.
    """
    exact = gradient.dtype in _RANK
    if not exact and reciprocal is not None and decay is None and not centralize:
        # nn.Adam fails with a decay or a mean of these, and stands still where the loss scale leaves nothing.
        own = reciprocal.astype(gradient.dtype)
        left = own.astype(mindspore.float32)
        if left != 0 and leave_integers(bool(left != reciprocal) or gradient.itemsize < 4):
            gradient, reciprocal = ops.mul(gradient, own), None
    if decay is not None or not exact:
        gradient = gradient.astype(parameter.dtype)
    interpreter = _Prepared(StepNumbers(decay=decay, reciprocal_scale=reciprocal), centralize=centralize)
    (gradient, _), *_ = interpreter.run(instructions, [(gradient, parameter)])
    return gradient.astype(parameter.dtype).contiguous()


def centralized(gradient: Any) -> Any:
    """Return a gradient without its mean over all axes but the first; with fewer than two axes, as it is."""
    if gradient.ndim < 2:
        return gradient
    if gradient.dtype == mindspore.bfloat16:
        # There is no mean of these on a CPU.
        return centralized(gradient.astype(mindspore.float32)).astype(mindspore.bfloat16)
    means = ops.mean(gradient, tuple(range(1, gradient.ndim)), True)
    return _subtract(gradient, None, means)
