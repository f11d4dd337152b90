#!/usr/bin/env python3
"""Time of adamcompat.tensorflow.Adam and AdamW relative to their originals in Keras.

python scripts/bench_tensorflow.py            medians of paired ratios, with their targets
python scripts/bench_tensorflow.py --fit      also one real model, first and later epochs of fit
python scripts/bench_tensorflow.py --json docs/figures/speed-tensorflow.json      for scripts/plots.py speed
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_shapes import Shape, resnet50
from figures import Ratio, add_json, quartiles, save_ratios

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


Quartiles = tuple[float, float, float]


def _first_steps(kinds: Sequence[Callable[[], Any]], shapes: list[Shape], mode: str) -> tuple[Quartiles, Quartiles]:
    """The ratio of first steps, and that of the first three together; what is compiled is compiled anew.

    Whichever optimizer steps first pays for fresh memory, so each does once.
    """
    from adamcompat.tensorflow import update

    first, three = [], []
    for order in ((0, 1), (1, 0)):
        update._compiled.cache_clear()
        times = {}
        for which in order:
            step = _step(kinds[which](), shapes, mode)
            times[which] = [_time(step) for _ in range(3)]
        first.append(times[0][0] / times[1][0])
        three.append(sum(times[0]) / sum(times[1]))
    return quartiles(first), quartiles(three)


def _paired(kinds: Sequence[Callable[[], Any]], shapes: list[Shape], mode: str, pairs: int) -> Quartiles:
    """Quartiles of the ratio of steps that are neither the first nor the second."""
    ours, stock = [_step(kind(), shapes, mode) for kind in kinds]
    for step in (ours, stock) * 2:
        step()
    return quartiles(_time(ours) / _time(stock) for _ in range(pairs))


def rows(pairs: int = 11) -> list[Ratio]:
    """Paired ratios to keras.optimizers.Adam, and of AdamW to its own original."""
    import keras

    from adamcompat.tensorflow import Adam, AdamW

    # The first compilation and tracing of a process pay for loading the compilers.
    for mode in MODES:
        _paired((Adam, keras.optimizers.Adam), [(3_000_000,)] * 2, mode, 1)
    found = []
    for (fused, mode), targets in TARGETS.items():
        for (workload, shapes), target in zip(WORKLOADS.items(), targets, strict=True):
            how = f"{mode}, fused=True" if fused else mode
            kinds = (partial(Adam, fused=fused), keras.optimizers.Adam)
            if fused is None and mode != "jit_compile":
                first, three = _first_steps(kinds, shapes, mode)
                found.append(Ratio(workload, f"{how}, first step", first, FIRST_STEP_TARGET))
                found.append(Ratio(workload, f"{how}, first three steps", three, FIRST_STEP_TARGET))
            found.append(Ratio(workload, how, _paired(kinds, shapes, mode, pairs), target))
            if fused is None:
                members = (AdamW, keras.optimizers.AdamW)
                found.append(Ratio(f"{workload}, AdamW", mode, _paired(members, shapes, mode, pairs)))
    return found


def fit_rows(epochs: int = 3) -> list[Ratio]:
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
        Ratio("MobileNetV2, first epoch", "fit", quartiles([seconds["ours"][0] / seconds["stock"][0]])),
        Ratio("MobileNetV2, later epochs", "fit", quartiles([later[0] / later[1]])),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="also measure fit")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    add_json(parser, "tensorflow")
    options = parser.parse_args()
    found = rows(3 if options.quick else 11) + (fit_rows() if options.fit else [])
    print("time relative to the original in Keras")
    for row in found:
        print(row.line())
    save_ratios(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
