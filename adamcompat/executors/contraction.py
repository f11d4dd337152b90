"""Tell where products and sums are rounded once (FMA) and where twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adamcompat.kernel import arithmetic_dtype
from adamcompat.mapping.model import Numerics

# Elements in one block of a kernel that contracts in blocks; the rest of a tensor is its tail.
BLOCK = 8


class Contraction(NamedTuple):
    """Describe how one tensor is contracted.

    Attributes:
        fused: whether ``a*b + c`` is rounded once.
        tail: whether the elements after the last whole block are finished in float64.
    """

    fused: bool
    tail: bool

    @classmethod
    def of(cls, numerics: Numerics, dtype: np.dtype[Any], *, amsgrad: bool) -> Contraction:
        """The contraction that `numerics` ask for; only float32 arithmetic is ever contracted."""
        fused = numerics.multiply_add != "separate" and arithmetic_dtype(numerics, dtype) == np.float32
        if numerics.multiply_add == "fused_blocks":
            fused = fused and not amsgrad
            return cls(fused, fused and dtype == np.float32)
        return cls(fused, False)
