"""Every option against the independent float64 reference, and the two executors against each other."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from adamcompat.mapping.tables import MAPPING
from tests.inputs import CASES, CLASSES, EACH, IDS, STYLES, Case, Run, assert_same, by_norm, reference, stream

pytestmark = pytest.mark.filterwarnings("ignore:'(lr|decay)' is a keyword:UserWarning")


@cache
def followed(name: str) -> tuple[list[Any], list[Any]]:
    """Where the reference ends, and how far each element has gone on the way; the same for each style and executor."""
    start, gradients = stream(1000)
    truth = reference(next(case for case in CASES if case.name == name))
    expected = [array.copy() for array in start]
    moved = [np.zeros_like(array) for array in start]
    for step in gradients:
        before = [array.copy() for array in expected]
        truth.step(expected, step)
        for total, old, new in zip(moved, before, expected, strict=True):
            total += np.abs(new - old)
    return expected, moved


@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
def test_float64_agrees_to_1e_12_of_the_total_move(case: Case, style: str, executor: str) -> None:
    start, gradients = stream(1000)
    run = Run(case, style, start)
    for step in gradients:
        run.step(step)
    for array, right, total in zip(run.arrays, *followed(case.name), strict=True):
        assert np.abs(array - right).max() <= 1e-12 * total.max()


@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_both_executors_give_the_same_bits(
    case: Case, style: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    start, gradients = stream(20, dtype=dtype)
    results = []
    for executor in ("numpy", "numba"):
        monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", executor)
        run = Run(case, style, start)
        for step in gradients:
            run.step(step)
        results.append(run.arrays)
    for one, other in zip(*results, strict=True):
        assert_same(one, other, by_norm(case))


@pytest.mark.parametrize("style", STYLES)
def test_the_table_covers_every_hyperparameter(style: str) -> None:
    adapter = MAPPING.adapter("numpy", CLASSES[style].__name__)
    used = {name for case in CASES for name in getattr(case, style) or {}}
    accepted = {fact.name for fact in MAPPING.dialects[adapter.dialect].accepted}
    accepted |= {fact.name for _, fact in MAPPING.borrowed(adapter)}
    # Clipping of each kind, and betas, are those of the member that another extends.
    extended = {"tf_w": {"beta_1", "beta_2", "clipvalue", "global_clipnorm"}}
    assert accepted - used <= {"params", "name"} | extended.get(style, set())
