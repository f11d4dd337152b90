"""Tell where products and sums are rounded once (FMA) and where twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adamcompat.kernel import arithmetic_dtype
from adamcompat.mapping.model import Numerics

# Elements in one block of a kernel that contracts in blocks; the rest of a tensor is its tail.
BLOCK = 8
# A block that no tensor fills, so that each is its own tail.
_ENDLESS = 1 << 62


class Contraction(NamedTuple):
    """Describe how one tensor is contracted.

    Attributes:
        fused: whether ``a*b + c`` is rounded once.
        block: elements in a block; those after a tensor's last whole block are finished in float64. 1 where none are.
    """

    fused: bool
    block: int = 1

    @property
    def tail(self) -> bool:
        """Return whether some elements may be finished in float64."""
        return self.block > 1

    @property
    def joins(self) -> bool:
        """Return whether it makes no difference where a tensor begins and ends."""
        return self.block in (1, _ENDLESS)

    def cut(self, size: int) -> int:
        """Return where the tail of a tensor of that many elements begins.

        >>> Contraction(True, 8).cut(19), Contraction(True).cut(19)
        (16, 19)
        """
        return size - size % self.block

    @classmethod
    def of(cls, numerics: Numerics, dtype: np.dtype[Any], *, amsgrad: bool) -> Contraction:
        """Return the contraction that `numerics` ask for; only float32 arithmetic is ever contracted.

        Args:
            numerics: how to round.
            dtype: the NumPy dtype of the parameters.
            amsgrad: whether the maximum of the second moments divides. Numerics that contract in blocks contract
                nothing then.

        Returns:
            Which products and sums are rounded once, and where the tail of a tensor begins.
        """
        fused = numerics.multiply_add != "separate" and arithmetic_dtype(numerics, dtype) == np.float32
        if fused and numerics.multiply_add == "fused_wide":
            return cls(True, _ENDLESS)
        if numerics.multiply_add == "fused_blocks":
            fused = fused and not amsgrad
            return cls(fused, BLOCK if fused and dtype == np.float32 else 1)
        return cls(fused)
