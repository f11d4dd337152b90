"""An eager step on TensorFlow's variables happens whole or not at all, whatever interrupts it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf
import tf_keras

from adamcompat.tensorflow import (
    Adam,
    AdamW,
    MindSporeStyleAdam,
    MindSporeStyleAdamWeightDecay,
    first_steps,
    legacy,
    update,
    v1,
)
from tests.faults import OURS, STRIDE, Points, Training, Tried, at_every_point, fail, from_a_handler, same
from tests.test_whole_steps import EVERYTHING

# A fault in a generator that is being closed is swallowed by Python.
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LEGACY = tf.keras.optimizers.Adam.__module__.startswith("tf_keras")
# The code of the package and of the frameworks' optimizers; what one operation does is TensorFlow's.
FILES = (
    OURS,
    str(Path(tf_keras.__file__).parent / "src" / "optimizers"),
    str(Path(tf.__file__).parent / "python" / "training"),
    *([] if LEGACY else [str(Path(tf.keras.__file__).parent / "src")]),
)


STYLES = (MindSporeStyleAdam, MindSporeStyleAdamWeightDecay)


class OnTensorFlow:
    """Variables, and an optimizer of any class; after some steps, so that what is traced is traced."""

    def __init__(
        self,
        kind: Any,
        *,
        steps: int = 3,
        rows: str = "",
        dtype: str = "float32",
        bounds: Any = None,
        **options: Any,
    ) -> None:
        rng = np.random.default_rng(0)
        shapes: list[tuple[int, ...]] = [(8, 2), (3,), ()]
        self.variables = [
            tf.Variable(rng.standard_normal(shape), dtype=dtype, constraint=bounds, name=f"w{i}")
            for i, shape in enumerate(shapes)
        ]
        self.gradients: list[Any] = [tf.constant(rng.standard_normal(s), dtype) for s in shapes]
        if rows:
            chosen = tf.constant([1, 5, 1] if rows == "repeated" else [1, 5])
            values = tf.constant(rng.standard_normal((len(chosen), 2)), dtype)
            self.gradients[0] = tf.IndexedSlices(values, chosen, tf.constant([8, 2]))
        self.step_counter = tf.Variable(0, dtype=tf.int64)
        self.optimizer = kind(self.variables, **options) if kind in STYLES else kind(**options)
        self.more = {"global_step": self.step_counter} if kind is v1.AdamOptimizer else {}
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        self.optimizer.apply_gradients(list(zip(self.gradients, self.variables, strict=True)), **self.more)

    def state(self) -> list[Any]:
        if isinstance(self.optimizer, v1.AdamOptimizer):
            # Its list of variables has now one order, now another.
            names = self.optimizer.get_slot_names()
            own = [self.optimizer.get_slot(one, name) for one in self.variables for name in names]
            own += self.optimizer._get_beta_accumulators()
        else:
            own = self.optimizer.variables
            own = own() if callable(own) else own
        return [tf.cast(one, tf.float32).numpy().copy() for one in (*self.variables, *own, self.step_counter)]


def path(kind: Any, **options: Any) -> Callable[[], Training]:
    return lambda: OnTensorFlow(kind, **options)


def halved(variable: Any) -> Any:
    return tf.minimum(variable, 1.0)


PATHS: dict[str, Callable[[], Training]] = {
    "Adam": path(Adam),
    "Adam, first steps": path(Adam, steps=1),
    "Adam, fused": path(Adam, fused=True, amsgrad=True),
    "Adam, decay": path(Adam, weight_decay=0.1, clipnorm=0.5),
    "Adam, rows": path(Adam, rows="unique"),
    "Adam, constraints": path(Adam, bounds=halved, amsgrad=True),
    "Adam, bfloat16": path(Adam, dtype="bfloat16"),
    "Adam, averages": path(Adam, use_ema=True, ema_overwrite_frequency=2),
    "AdamW": path(AdamW, weight_decay=0.1),
    "MindSporeStyleAdamWeightDecay": path(MindSporeStyleAdamWeightDecay, weight_decay=0.1, numerics="mindspore"),
    "MindSporeStyleAdam": path(MindSporeStyleAdam, weight_decay=0.1, loss_scale=2.0),
    "MindSporeStyleAdam, first steps": path(MindSporeStyleAdam, steps=1, numerics="mindspore", use_amsgrad=True),
    "MindSporeStyleAdam, lazy rows": path(MindSporeStyleAdam, rows="repeated", use_lazy=True),
    "legacy": path(legacy.Adam),
    "legacy, options": path(legacy.Adam, amsgrad=True, clipnorm=0.5, decay=0.1),
    "legacy, rows": path(legacy.Adam, rows="repeated"),
    "legacy, constraints": path(legacy.Adam, bounds=halved),
    "legacy, bfloat16": path(legacy.Adam, dtype="bfloat16"),
    "legacy, a schedule": path(legacy.Adam, learning_rate=lambda: 0.1),
    "legacy, transformed": path(legacy.Adam, gradient_transformers=[lambda pairs: [(g * 2.0, v) for g, v in pairs]]),
    "v1": path(v1.AdamOptimizer),
    "v1, AMSGrad": path(v1.AdamOptimizer, amsgrad=True),
    "v1, rows": path(v1.AdamOptimizer, rows="repeated"),
    "v1, rows, Nesterov": path(v1.AdamOptimizer, rows="repeated", use_nesterov=True),
    "v1, constraints": path(v1.AdamOptimizer, bounds=halved),
    "v1, a schedule": path(v1.AdamOptimizer, learning_rate=lambda: 0.1),
}
if not LEGACY:
    everything = {name: value for name, value in EVERYTHING.items() if name != "loss_scale_factor"}
    PATHS["Adam, accumulation"] = path(Adam, **everything)
    PATHS["Adam, accumulated rows"] = path(Adam, rows="repeated", gradient_accumulation_steps=2)


# What a first step updates variable by variable, by the cost of a program and of an update in place.
SEPARATE = {"operations": (inf, inf), "in place": (inf, -1e9), "programs": (-1e9, inf), "traced": (inf, inf)}
for form in SEPARATE:
    PATHS[f"Adam, first steps, {form}"] = path(Adam, steps=2, amsgrad=True, clipnorm=0.5)
    PATHS[f"AdamW, first steps, {form}"] = path(AdamW, steps=2, weight_decay=0.1)
# Decays in a pass of its own, before the update.
PATHS["AdamW, bfloat16, in place"] = path(AdamW, steps=4, learning_rate=0.3, weight_decay=0.3, dtype="bfloat16")


@pytest.fixture(autouse=True)
def separately(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    form = request.getfixturevalue("name").rpartition(", ")[2] if "name" in request.fixturenames else ""
    if form in SEPARATE:
        costs = dict(zip(("COMPILING", "FORMULA"), SEPARATE[form], strict=True))
        for module, values in (
            (first_steps, {"WAITS": form != "traced", "TRACING": inf, "_ready": set(), **costs}),
            (update, {"SMALL": 0, "WORTH_COMPILING": 1 if form == "programs" else inf, "_threads": lambda: 3}),
        ):
            for name, value in values.items():
                monkeypatch.setattr(module, name, value)


def whole(found: Tried, least: int) -> None:
    assert found.half == 0, f"{found.half} of {found.tries} interrupted steps were half-applied"
    assert found.tries >= least


@pytest.mark.parametrize("name", PATHS)
def test_an_exception_at_every_line(name: str) -> None:
    # A fault within TensorFlow's own code may leave its state of a thread behind, which no other test shall see.
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(at_every_point, PATHS[name], Points(fail, FILES), stride=STRIDE).result()
    whole(found, 60 // STRIDE)


# The code that calls what writes in place, and notes that it has run.
CALLS = tuple(
    str(Path(OURS) / "tensorflow" / name) for name in ("traced.py", "whole.py", "first_steps.py", "update.py")
)


@pytest.mark.parametrize("name", [name for name in PATHS if name.rpartition(", ")[2] in SEPARATE])
def test_an_exception_at_every_line_around_a_call(name: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(at_every_point, PATHS[name], Points(fail, CALLS)).result()
    whole(found, 40)


@pytest.mark.parametrize("name", PATHS)
def test_a_signal_at_every_line(name: str) -> None:
    previous = signal.getsignal(signal.SIGUSR1)
    try:
        points = Points(from_a_handler(signal.SIGUSR1), FILES)
        whole(at_every_point(PATHS[name], points, first=2, stride=7 * STRIDE), max(1, 60 // STRIDE // 7))
    finally:
        signal.signal(signal.SIGUSR1, previous)


BAD: dict[str, Any] = {
    "shape": lambda: tf.ones(5),
    "text": lambda: tf.constant(["a", "b", "c"]),
    "row": lambda: tf.IndexedSlices(tf.constant([1.0]), tf.constant([9]), tf.constant([3])),
    "row below": lambda: tf.IndexedSlices(tf.constant([1.0]), tf.constant([-1]), tf.constant([3])),
    "width": lambda: tf.IndexedSlices(tf.ones((1, 4)), tf.constant([0]), tf.constant([3])),
}


@functools.cache
def without_bad_gradients(name: str) -> list[Any]:
    """The state after three more steps."""
    plain: Any = PATHS[name]()
    for _ in range(3):
        plain.step()
    found: list[Any] = plain.state()
    return found


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", [name for name in PATHS if "bfloat16" not in name])
def test_a_bad_gradient_changes_nothing(name: str, bad: str) -> None:
    training: Any = PATHS[name]()
    good = list(training.gradients)
    for count in range(3):
        before = training.state()
        training.gradients[1] = BAD[bad]()
        try:
            training.step()
        except Exception:
            assert same(training.state(), before), f"after {count} more steps"
        else:
            # TensorFlow adds rows up into a dense gradient here and there, and leaves out those it does not have.
            assert bad.startswith("row") and name.startswith("Adam")
            return
        training.gradients[:] = good
        training.step()
    assert same(training.state(), without_bad_gradients(name))


@pytest.mark.skipif(LEGACY, reason="this is the other process")
def test_the_same_on_tf_keras() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "Adam"]
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "ADAMCOMPAT_TEST_STRIDE": str(5 * STRIDE)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
