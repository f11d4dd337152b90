"""The demonstration trains, and both optimizers end alike."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mindspore", reason="MindSpore is not installed")

from adamcompat.mindspore import demo

pytestmark = pytest.mark.frameworks


def test_run(mode: str) -> None:
    seen: list[tuple[int, int]] = []
    (ours, output), (theirs, expected) = demo.run(lambda done, total: seen.append((done, total)))
    assert (ours, theirs) == ("adamcompat.mindspore.Adam", "mindspore.nn.Adam")
    np.testing.assert_array_equal(output, expected)
    assert str(output) == "[[ 5.8998876 11.100113 ]\n [12.299808  24.700195 ]]"
    assert seen[0] == (1, 200)
    assert seen[-1] == (200, 200)
