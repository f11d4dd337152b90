"""The demo trains the network with ours and the originals, and they agree."""

from __future__ import annotations

import numpy as np
import pytest

import adamcompat.demo.tensorflow as demo
from adamcompat.demo import RECORDED, STEPS

pytestmark = pytest.mark.frameworks


def test_ours_and_the_originals_agree() -> None:
    steps = 0

    def advance() -> None:
        nonlocal steps
        steps += 1

    results = demo.run(advance)
    assert len(results) == demo.TRAININGS
    assert steps == STEPS * demo.TRAININGS
    for ours, stock in zip(results[::2], results[1::2], strict=True):
        np.testing.assert_array_equal(ours.output, stock.output)
    np.testing.assert_array_equal(results[3].output, RECORDED)
    # Keras 3 rounds otherwise, as the demo says.
    assert not np.array_equal(results[1].output, RECORDED)
