"""What the tests of the TensorFlow runtime share."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.processes import run
from tests.versions import before

ROOT = Path(__file__).resolve().parents[2]
SHAPES: list[tuple[int, ...]] = [(7,), (3, 5), (70, 70), (2, 3, 3, 4), (130, 40), ()]
replicas_agree = pytest.mark.skipif(before("keras", "3.5"), reason="replicas of Keras before 3.5 drift apart")


def trajectory(
    kind: Callable[..., Any],
    options: dict[str, Any],
    *,
    mode: str = "eager",
    steps: int = 30,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    dtype: str = "float32",
) -> list[np.ndarray[Any, Any]]:
    """Weights and all state after some steps; callables among `options` are called for fresh values."""
    rng = np.random.default_rng(1)
    variables = [keras.Variable(rng.standard_normal(shape), dtype=dtype) for shape in shapes]
    optimizer = kind(**{name: value() if callable(value) else value for name, value in options.items()})
    optimizer.build(variables)

    def step(gradients: Any) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    run = step if mode == "eager" else tf.function(step, jit_compile=mode == "jit")
    for _ in range(steps):
        draws = [rng.standard_normal(shape) * 10 ** rng.uniform(-4, 1) for shape in shapes]
        run([tf.constant(draw, dtype) for draw in draws])
    return [np.asarray(x) for x in [*variables, *optimizer.variables]]


def differing(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many elements are not the same, bit for bit."""
    assert len(a) == len(b)
    pairs = [(np.atleast_1d(x).view(np.uint8), np.atleast_1d(y).view(np.uint8)) for x, y in zip(a, b, strict=True)]
    return sum(int(np.sum(x != y)) for x, y in pairs)


def run_python(code: str, *, timeout: int = 240, fresh: bool = False, **environment: str) -> str:
    """Run code in a process of its own and return what it prints.

    Args:
        code: the program, which may be indented.
        timeout: in seconds.
        fresh: nothing has been imported in the process, or else TensorFlow and its Keras, and nothing has been done.
        environment: variables beside those of this process.
    """
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    library = "tf_keras" if settings.get("TF_USE_LEGACY_KERAS") == "1" else "keras"
    done = run(
        ["-c", textwrap.dedent(code)],
        environment=settings,
        imported=() if fresh else ("tensorflow", library),
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
