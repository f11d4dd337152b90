"""Supply the operations of the update and the stages on MindSpore's Tensors.

These are named functions: MindSpore's compiler reads no lambda that stands among other code.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import ops

from adamcompat.kernel import Operations


def _fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def _blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return a * x + b * y


def same(a: Any) -> Any:
    """Return a value as it is: it needs no wider precision."""
    return a


def multiply(a: Any, b: Any) -> Any:
    """Return the product."""
    return a * b


SEPARATE = Operations(_fma, _blend, ops.sqrt, ops.maximum, same, multiply)


def cast(a: Any, dtype: Any) -> Any:
    """Return a Tensor in another dtype; where it has that dtype, the Tensor itself."""
    # MindSpore's conversion from float64 to float64 goes through float32 unless its compiler leaves it out.
    if a.dtype == dtype:
        return a
    return a.astype(dtype)


def _double(a: Any) -> Any:
    return cast(a, mindspore.float64)


def _once(a: Any, b: Any, c: Any) -> Any:
    """Return ``a*b + c`` of float32 rounded once: a float32 product is exact in float64."""
    return cast(_double(a) * _double(b) + _double(c), mindspore.float32)


def _once_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _once(a, x, b * y)


def _tail_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _once(b, y, a * x)


FUSED = Operations(_once, _once_blend, ops.sqrt, ops.maximum, same, multiply)
# The step is divided and subtracted in float64.
WIDE = Operations(_once, _tail_blend, ops.sqrt, ops.maximum, _double, multiply)
