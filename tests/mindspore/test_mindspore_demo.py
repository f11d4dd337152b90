"""The demonstration trains, and both optimizers end alike."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mindspore", reason="MindSpore is not installed")

import adamcompat.demo.mindspore as demo
from adamcompat.demo import RECORDED, STEPS

pytestmark = pytest.mark.frameworks


def test_run(mode: str) -> None:
    steps = 0

    def advance() -> None:
        nonlocal steps
        steps += 1

    ours, theirs = demo.run(advance)
    assert (ours.label, theirs.label) == ("adamcompat.mindspore.Adam", "mindspore.nn.Adam")
    np.testing.assert_array_equal(ours.output, theirs.output)
    np.testing.assert_array_equal(theirs.output, RECORDED)
    assert steps == demo.TRAININGS * STEPS
