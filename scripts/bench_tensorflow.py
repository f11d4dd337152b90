#!/usr/bin/env python3
"""Time of adamcompat.tensorflow.Adam relative to keras.optimizers.Adam.

python scripts/bench_tensorflow.py            medians of paired ratios, with their targets
python scripts/bench_tensorflow.py --fit      also one real model, first and later epochs of fit
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_shapes import Shape, resnet50

MODES = ("eager", "tf.function", "jit_compile")
TARGETS = {
    (None, "eager"): (0.08, 0.30, 0.04),
    (None, "tf.function"): (0.36, 0.42, 0.80),
    (None, "jit_compile"): (1.05, 1.05, 1.05),
    (True, "eager"): (0.10, 0.25, 0.025),
    (True, "tf.function"): (0.42, 0.38, 0.65),
    (True, "jit_compile"): (1.05, 1.05, 1.05),
}
FIRST_STEP_TARGET = 1.2
WORKLOADS: dict[str, list[Shape]] = {
    "ResNet-50, 161 tensors": resnet50(),
    "one tensor of 10M": [(10_000_000,)],
    "200 tensors of 64": [(64,)] * 200,
}


def _step(optimizer: Any, shapes: list[Shape], mode: str) -> Callable[[], Any]:
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    variables = [tf.Variable(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    gradients = [tf.constant(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    optimizer.build(variables)

    def step() -> Any:
        return optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))

    return step if mode == "eager" else tf.function(step, jit_compile=mode == "jit_compile")


def _time(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _paired(ours: Callable[[], Any], stock: Callable[[], Any], pairs: int) -> tuple[float, float, float]:
    """The ratio of the first steps, that of the first three together, and the median ratio of later ones."""
    mine, theirs = [_time(ours) for _ in range(3)], [_time(stock) for _ in range(3)]
    return (
        mine[0] / theirs[0],
        sum(mine) / sum(theirs),
        statistics.median(_time(ours) / _time(stock) for _ in range(pairs)),
    )


def rows(pairs: int = 11) -> list[tuple[str, float, float]]:
    """What was measured, the median of paired ratios to keras.optimizers.Adam, and its target."""
    import keras

    from adamcompat.tensorflow import Adam

    # The first compilation and tracing of a process pay for loading the compilers.
    for mode in MODES:
        _paired(_step(Adam(), [(3_000_000,)] * 2, mode), _step(keras.optimizers.Adam(), [(64,)], mode), 1)
    found = []
    for (fused, mode), targets in TARGETS.items():
        for (workload, shapes), target in zip(WORKLOADS.items(), targets, strict=True):
            ours, stock = _step(Adam(fused=fused), shapes, mode), _step(keras.optimizers.Adam(), shapes, mode)
            first, three, later = _paired(ours, stock, pairs)
            what = f"TensorFlow {mode}, {workload}" + (", fused=True" if fused else "")
            found.append((what, later, target))
            if fused is None and mode != "jit_compile":
                found.append((f"{what}, first step", first, FIRST_STEP_TARGET))
                found.append((f"{what}, first three steps", three, FIRST_STEP_TARGET))
    return found


def fit_rows(epochs: int = 3) -> list[tuple[str, float]]:
    """Ratios of whole epochs of fit of MobileNetV2, first and later."""
    import keras
    import numpy as np

    from adamcompat.tensorflow import Adam

    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 96, 96, 3), dtype=np.float32)
    labels = rng.integers(0, 10, 64)
    seconds: dict[str, list[float]] = {}
    for name, kind in (("stock", keras.optimizers.Adam), ("ours", Adam)):
        model = keras.applications.MobileNetV2(input_shape=(96, 96, 3), weights=None, classes=10)
        model.compile(kind(), "sparse_categorical_crossentropy")
        train = partial(model.fit, images, labels, batch_size=8, verbose=0)
        seconds[name] = [_time(train) for _ in range(epochs)]
    later = [statistics.median(seconds[name][1:]) for name in ("ours", "stock")]
    return [
        ("TensorFlow fit, MobileNetV2, first epoch", seconds["ours"][0] / seconds["stock"][0]),
        ("TensorFlow fit, MobileNetV2, later epochs", later[0] / later[1]),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="also measure fit")
    options = parser.parse_args()
    print(f"{'time relative to keras.optimizers.Adam':70} ratio  target")
    for what, ratio, target in rows():
        print(f"{what:70} {ratio:5.3f}  {target:5.3f}{'' if ratio <= target else '  above'}")
    if options.fit:
        for what, ratio in fit_rows():
            print(f"{what:70} {ratio:5.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
