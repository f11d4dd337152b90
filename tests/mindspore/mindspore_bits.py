"""What "the same numbers" means on this processor."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

# MindSpore's operators contract products and sums where the processor can; so does the shared kernel.
_FEATURES: dict[str, bool] = import_module("numpy.core._multiarray_umath").__cpu_features__
HAS_FMA = any(_FEATURES.get(name) for name in ("FMA3", "ASIMD"))


def needs_products_of_bfloat16() -> None:
    """Skip where MindSpore cannot multiply bfloat16 on a CPU, as 2.7."""
    import mindspore as ms

    one = ms.Tensor([1.0], ms.bfloat16)
    try:
        (one * one).astype(ms.float32).asnumpy()
    except TypeError:
        pytest.skip("this MindSpore cannot multiply bfloat16 on a CPU")


def assert_same(ours: Any, theirs: Any, name: str = "") -> None:
    """Equal bits; without FMA two spacings at the largest value."""
    if HAS_FMA:
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    else:
        atol = 2 * float(np.spacing(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=name)
