"""The first steps of adamcompat.tensorflow.Adam relative to Keras's, each repetition in a process of its own.

`scripts/bench tensorflow` measures them; `scripts/bench tensorflow --only "first "` nothing else.

Nothing is traced, compiled or cached when the steps begin, but for a tiny step that the process has made.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_shapes import Shape, resnet50
from measuring import Case, Times, output, seconds

STEPS = 40
WORKLOADS: dict[str, list[Shape]] = {
    "ResNet-50, 161 tensors": resnet50(),
    "one tensor of 10M": [(10_000_000,)],
    "200 tensors of 64": [(64,)] * 200,
    "12 Dense layers of 512": [(512, 512), (512,)] * 12,
}
Steps = dict[str, list[float]]


def in_this_process(name: str, work: str, mode: str, steps: int) -> list[float]:
    """Seconds of each step of one optimizer.

    Args:
        name: whose, ours or theirs.
        work: one of the workloads.
        mode: eager or tf.function.
        steps: how many.
    """
    import keras
    from bench_tensorflow import optimizer_step

    from adamcompat.tensorflow import Adam

    kind = {"ours": Adam, "theirs": keras.optimizers.Adam}[name]
    optimizer_step(kind(), [(3,)], mode)()
    step = optimizer_step(kind(), WORKLOADS[work], mode)
    return [seconds(step) for _ in range(steps)]


def in_fresh_processes(*given: Any, ours_first: bool) -> Steps:
    """Seconds of each step of both, each in a process of its own: memory that one has used costs the other less.

    Args:
        given: see `in_this_process`, from the second argument on.
        ours_first: which process comes first.
    """
    found: Steps = {}
    for name in ("ours", "theirs") if ours_first else ("theirs", "ours"):
        command = [sys.executable, __file__, json.dumps([name, *given])]
        found[name] = json.loads(output(command).splitlines()[-1])
    return found


def worst(found: list[Steps]) -> Times:
    """Of each process the time of the first k steps, for the k whose median ratio is the largest."""
    ours, theirs = (list(zip(*(accumulate(each[name]) for each in found), strict=True)) for name in ("ours", "theirs"))
    medians = [statistics.median(a / b for a, b in zip(*both, strict=True)) for both in zip(ours, theirs, strict=True)]
    index = medians.index(max(medians))
    note = f"worst after {index + 1} of {len(medians)}" if len(medians) > 1 else ""
    return Times(list(ours[index]), list(theirs[index]), note)


def measured(work: str, mode: str, steps: int, pairs: int) -> Times:
    """The worst of so many first steps.

    Args:
        work: one of the workloads.
        mode: eager or tf.function.
        steps: up to how many steps are added up.
        pairs: how many pairs of processes, by turns with ours first and last.
    """
    return worst([in_fresh_processes(work, mode, steps, ours_first=number % 2 == 0) for number in range(pairs)])


def cases(quick: bool = False) -> Iterator[Case]:
    """Sums of eager steps, and the step under tf.function that traces."""
    pairs = 2 if quick else 5
    for work in WORKLOADS:
        yield Case(work, f"eager, first {STEPS} steps", partial(measured, work, "eager", STEPS, pairs))
    for work in WORKLOADS:
        yield Case(work, "tf.function, first step", partial(measured, work, "tf.function", 1, pairs))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(json.dumps(in_this_process(*json.loads(sys.argv[1]))))
