#!/usr/bin/env python3
"""Time of adamcompat.tensorflow.Adam and AdamW relative to their originals in Keras.

scripts/bench tensorflow            medians of paired ratios, with their targets
scripts/bench tensorflow --fit      also one real model, first and later epochs of fit
scripts/bench tensorflow --json docs/figures/speed-tensorflow.json      for scripts/plots.py speed
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_first_steps
import measuring
from bench_shapes import Shape, resnet50
from measuring import Case, Times, seconds

MODES = ("eager", "tf.function", "jit_compile")
WORKLOADS: dict[str, list[Shape]] = {
    "ResNet-50, 161 tensors": resnet50(),
    "one tensor of 10M": [(10_000_000,)],
    "200 tensors of 64": [(64,)] * 200,
}


def optimizer_step(optimizer: Any, shapes: list[Shape], mode: str) -> Callable[[], Any]:
    """A function that makes one step."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    variables = [tf.Variable(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    gradients = [tf.constant(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes]
    optimizer.build(variables)

    def step() -> Any:
        return optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))

    return step if mode == "eager" else tf.function(step, jit_compile=mode == "jit_compile")


def paired(name: str, shapes: list[Shape], mode: str, pairs: int, **given: Any) -> Times:
    """Times of later steps, of our class and of Keras's of the same name; for the first see bench_first_steps.py.

    Args:
        name: of both classes.
        shapes: of the variables.
        mode: how a step is run.
        pairs: how many pairs of steps.
        given: settings of our class.
    """
    import keras

    import adamcompat.tensorflow
    from adamcompat.tensorflow import first_steps

    warm_up(mode)
    # The second step traces and compiles, whether steps have saved the time for it or not.
    first_steps.WAITS = False
    makers = (partial(getattr(adamcompat.tensorflow, name), **given), getattr(keras.optimizers, name))
    ours, stock = [optimizer_step(make(), shapes, mode) for make in makers]
    for step in (ours, stock) * 2:
        step()
    return measuring.paired((seconds(ours), seconds(stock)) for _ in range(pairs))


@cache
def warm_up(mode: str) -> None:
    """Make two steps: the first compilation and tracing of a process pay for loading the compilers."""
    import keras

    from adamcompat.tensorflow import Adam

    for kind in (Adam, keras.optimizers.Adam) * 2:
        optimizer_step(kind(), [(3_000_000,)] * 2, mode)()


@cache
def epochs(count: int = 3) -> dict[str, list[float]]:
    """Seconds of whole epochs of fit of MobileNetV2, of ours and of Keras's."""
    import keras
    import numpy as np

    from adamcompat.tensorflow import Adam

    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 96, 96, 3), dtype=np.float32)
    labels = rng.integers(0, 10, 64)
    found = {}
    for name, kind in (("stock", keras.optimizers.Adam), ("ours", Adam)):
        model = keras.applications.MobileNetV2(input_shape=(96, 96, 3), weights=None, classes=10)
        model.compile(kind(), "sparse_categorical_crossentropy")
        train = partial(model.fit, images, labels, batch_size=8, verbose=0)
        found[name] = [seconds(train) for _ in range(count)]
    return found


def first_epoch() -> Times:
    return Times([epochs()["ours"][0]], [epochs()["stock"][0]])


def later_epochs() -> Times:
    ours, stock = (statistics.median(epochs()[name][1:]) for name in ("ours", "stock"))
    return Times([ours], [stock])


def cases(quick: bool = False, fit: bool = False) -> Iterator[Case]:
    """Everything that is measured: ratios to keras.optimizers.Adam, and of AdamW to its own original."""
    pairs = 3 if quick else 11
    for mode in MODES:
        for work, shapes in WORKLOADS.items():
            yield Case(work, mode, partial(paired, "Adam", shapes, mode, pairs))
            yield Case(f"{work}, AdamW", mode, partial(paired, "AdamW", shapes, mode, pairs))
    for mode in MODES:
        for work, shapes in WORKLOADS.items():
            yield Case(work, f"{mode}, fused=True", partial(paired, "Adam", shapes, mode, pairs, fused=True))
    yield from bench_first_steps.cases(quick)
    if fit:
        yield Case("MobileNetV2, first epoch", "fit", first_epoch)
        yield Case("MobileNetV2, later epochs", "fit", later_epochs)


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    parser = measuring.options(__doc__, "tensorflow")
    parser.add_argument("--fit", action="store_true", help="also measure fit")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return measuring.run("tensorflow", cases(given.quick, given.fit), given)


if __name__ == "__main__":
    sys.exit(main())
