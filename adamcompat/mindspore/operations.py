"""Supply the operations of the update and the stages on MindSpore's Tensors, each rounded on its own.

These are named functions: MindSpore's compiler reads no lambda that stands among other code.
"""

from __future__ import annotations

from typing import Any

from mindspore import ops

from adamcompat.kernel import Operations


def _fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def _blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return a * x + b * y


def same(a: Any) -> Any:
    """`a`, which needs no wider precision."""
    return a


def multiply(a: Any, b: Any) -> Any:
    """Return the product."""
    return a * b


SEPARATE = Operations(_fma, _blend, ops.sqrt, ops.maximum, same, multiply)
