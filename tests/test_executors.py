"""The executors by themselves, where no dialect reaches."""

from __future__ import annotations

import os

import numpy as np
import pytest

import adamcompat.executors.columns as columns
from adamcompat.executors import blocked
from adamcompat.executors.launch import THREADS_ABOVE, threads_for
from adamcompat.mapping.tables import MAPPING
from adamcompat.program import DECOUPLED_DECAY, MULTIPLY, Bound

PROGRAM = [Bound(DECOUPLED_DECAY, 0.5), Bound(MULTIPLY, 2.0)]


def test_a_norm_is_taken_without_touching_the_parameter() -> None:
    """A dialect may decay before it clips; the reduction must not decay as well."""
    fused = pytest.importorskip("adamcompat.executors.fused")
    parameter, gradient = np.ones(5000), np.full(5000, 3.0)
    expected = blocked.sum_of_squares(blocked.Elements(gradient), parameter, PROGRAM, MAPPING.numerics["canonical"])
    addresses = np.zeros((1, columns.COLUMNS), np.int64)
    addresses[0, [columns.PARAMETER, columns.GRADIENT]] = [
        a.__array_interface__["data"][0] for a in (parameter, gradient)
    ]
    table = fused.Table(addresses, np.array([0, 5000]), np.zeros(1, np.int64), gradient.dtype, gradient.dtype)
    found = fused.squares(table, fused.Programs.of([PROGRAM], gradient.dtype, 1))
    assert found[0] == expected == 5000 * 36.0
    np.testing.assert_array_equal(parameter, np.ones(5000))


def test_blocks_of_rows_cover_rows_of_any_width() -> None:
    rng = np.random.default_rng(0)
    for shape in ((7, 3), (5, 40_000), (100_000, 1), (3, 1, 20_000)):
        rows = np.unique(rng.integers(0, shape[0], 4))
        values = rng.standard_normal((len(rows), *shape[1:]))
        dense = np.zeros(shape)
        dense[rows] = values
        source = blocked.Rows(rows, values, shape)
        joined = np.concatenate([source.read(start, stop) for start, stop in blocked.blocks(source.size)])
        np.testing.assert_array_equal(joined, dense.ravel())


@pytest.mark.parametrize("rows", [None, [1, 3]], ids=["dense", "rows"])
@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 1), (1, 5), (5, 40_000), (30_000, 2), (4, 1, 20_000), (6, 2, 3)])
def test_means_are_those_of_rows_of_any_width(shape: tuple[int, ...], rows: list[int] | None) -> None:
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal(shape)
    source: blocked.Gradient = blocked.Elements(gradient)
    if rows is not None:
        kept = np.array([row for row in rows if row < shape[0]], np.intp)
        source = blocked.Rows(kept, gradient[kept], shape)
        gradient[np.setdiff1d(np.arange(shape[0]), kept)] = 0
    found = blocked.row_means(source, np.ones(shape), [Bound(MULTIPLY, 2.0)], MAPPING.numerics["canonical"])
    np.testing.assert_allclose(found, 2 * gradient.reshape(shape[0], -1).mean(axis=1), rtol=1e-12, atol=1e-15)


def test_temporaries_stay_small() -> None:
    """Without Numba a step of 10 million elements may not allocate a second array of that size."""
    import tracemalloc

    parameter = np.ones(10_000_000, np.float32)
    state = [np.zeros_like(parameter) for _ in range(2)]
    from adamcompat.kernel import coefficients
    from adamcompat.mapping.model import Form

    numerics = MAPPING.numerics["canonical"]
    scalars = coefficients(
        numerics,
        np.float32,
        learning_rate=0.1,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        step=1,
        nesterov=False,
        form=Form("hat", "both"),
    )
    tracemalloc.start()
    blocked.update_one(parameter, blocked.Elements(parameter), state[0], state[1], None, scalars, PROGRAM, numerics)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind threads to processors")
@pytest.mark.parametrize("count", [1, 2])
def test_no_more_threads_than_processors_that_may_be_used(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container, taskset or a scheduler may give a process fewer processors than the machine has."""
    usable = sorted(os.sched_getaffinity(0))
    monkeypatch.delenv("ADAMCOMPAT_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    try:
        os.sched_setaffinity(0, usable[:count])
        assert threads_for(100 * THREADS_ABOVE) == len(usable[:count])
    finally:
        os.sched_setaffinity(0, usable)
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "5")
    assert threads_for(100 * THREADS_ABOVE) == 5


def test_where_no_system_tells_each_processor_of_the_machine_gets_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAMCOMPAT_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert threads_for(100 * THREADS_ABOVE) == expected
        assert [threads_for(elements) for elements in (1, THREADS_ABOVE - 1)] == [1, 1]
        assert threads_for(THREADS_ABOVE) == min(expected, 2)
