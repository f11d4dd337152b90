"""Running products: repeated bit for bit, and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamcompat.kernel import running_product
from adamcompat.state import StateError
from adamcompat.state.powers import factors_in

BETAS = [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999]
DTYPES = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", BETAS)
def test_the_product_is_that_of_a_loop(beta: float, dtype: Any) -> None:
    product, factor = dtype(1), dtype(beta)
    for factors in range(300):
        assert running_product(beta, factors, dtype) == product
        product = product * factor


def test_many_factors_are_those_of_a_loop() -> None:
    product, factor = np.float32(1), np.float32(0.9999)
    for _ in range(70_000):
        product = product * factor
    assert running_product(0.9999, 70_000, np.float32) == product


def test_a_product_that_no_longer_changes_takes_no_time() -> None:
    assert running_product(0.9, 10**12, np.float32) < np.finfo(np.float32).tiny
    assert running_product(1 - 1e-9, 10**12, np.float32) == 1


@given(st.sampled_from([0.5, 0.9, 0.99, 0.999]), st.integers(0, 60_000))
def test_the_number_of_factors_is_read_back(beta: float, factors: int) -> None:
    product = running_product(beta, factors, np.float32)
    found = factors_in(product, beta)
    assert found == (factors if product >= np.finfo(np.float32).tiny else None)


def test_a_product_from_elsewhere_may_be_off_by_roundings_but_not_by_more() -> None:
    product = np.float32(0.999**5000)
    assert product != running_product(0.999, 5000, np.float32)
    assert factors_in(product, 0.999) == 5000
    between = np.float32((0.9**5 + 0.9**6) / 2)
    with pytest.raises(StateError, match=r"no running product of 0\.9"):
        factors_in(between, 0.9)
    with pytest.raises(StateError, match="between 0 and 1"):
        factors_in(np.float32(1.5), 0.9)
    with pytest.raises(StateError, match="stays at"):
        factors_in(np.float32(0.5), 1 - 1e-9)
