"""The demo trains the page's network with ours and the originals, and they agree."""

from __future__ import annotations

import numpy as np
import pytest

from adamcompat.tensorflow.demo import STEPS, run

pytestmark = pytest.mark.frameworks


def test_ours_and_the_originals_agree() -> None:
    seen: list[tuple[str, int, int]] = []
    results = run(lambda label, step, total: seen.append((label, step, total)))
    labels = [label for label, _ in results]
    assert len(seen) == STEPS * len(results) and seen[-1] == (labels[-1], STEPS, STEPS)
    for (_, ours), (_, stock) in zip(results[::2], results[1::2], strict=True):
        np.testing.assert_array_equal(ours, stock)
    np.testing.assert_allclose(results[2][1], [[5.8998876, 11.100113], [12.299808, 24.700195]], rtol=1e-7)
