#!/usr/bin/env python3
"""Measure how far every two dialects drift apart, for the mapping pages.

python scripts/drift.py            write docs/figures/pairs.json, in less than a minute

Every dialect that adamcompat has a class for makes 1,000 steps on the same random weights and gradients (float32,
seed 0; the gradients of an element have one size, from 1e-8 to 1), by the NumPy runtime with the dialect's own
order of a step, form of epsilon and rounding. It does so with the dialect's defaults; with learning rate, betas and
epsilon of all made equal and no weight decay; and with a weight decay of 0.01 beside, where the dialect has one.
A movement is the norm of what all weights have moved since the start, and a distance that of the difference between
two dialects' weights. `scripts/pair_pages.py` shows the one as a fraction of the other.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))

from adamcompat.comparison.models import model_of  # noqa: E402
from adamcompat.comparison.run import SHAPES  # noqa: E402
from adamcompat.comparison.streams import Stream, random_stream  # noqa: E402
from adamcompat.drive import prepare  # noqa: E402
from adamcompat.drive.catalogue import FLOAT64  # noqa: E402
from adamcompat.drive.numpy import EngineDriver  # noqa: E402
from adamcompat.files import replacing  # noqa: E402
from adamcompat.mapping.model import Dialect  # noqa: E402
from adamcompat.mapping.tables import MAPPING  # noqa: E402

FIGURES = HOME / "docs/figures/pairs.json"
STEPS = (1, 10, 100, 1000)
EQUAL = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
DECAY = 0.01
# The kinds of decay that can be made equal, in the order in which a dialect's own is looked for.
DECAYS = ("decoupled_weight_decay", "l2_weight_decay")

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Setting:
    """One way to set the hyperparameters.

    Attributes:
        name: in the file of figures.
        values: for each dialect that is measured the hyperparameters that are not its defaults, by canonical names.
    """

    name: str
    values: dict[str, dict[str, Any]]


def measured() -> list[str]:
    """Return the dialects that are measured: those that a class of ours executes."""
    return [name for name in MAPPING.dialects if any(adapter.dialect == name for adapter in MAPPING.adapters)]


def settings() -> list[Setting]:
    """Return the settings: each one's defaults, all equal, and all equal with each kind of weight decay."""
    dialects = [MAPPING.dialects[name] for name in measured()]
    found = [
        Setting("defaults", {dialect.name: {} for dialect in dialects}),
        Setting("equal", {dialect.name: EQUAL | without_decay(dialect) for dialect in dialects}),
    ]
    for decay in DECAYS:
        having = [dialect for dialect in dialects if dialect.named(decay) is not None]
        found.append(Setting(decay, {one.name: EQUAL | without_decay(one) | {decay: DECAY} for one in having}))
    return found


def without_decay(dialect: Dialect) -> dict[str, float]:
    """Return what turns off the weight decay that a dialect may have by default."""
    return {decay: 0.0 for decay in DECAYS if dialect.named(decay) is not None}


def driver(name: str, values: dict[str, Any], stream: Stream) -> EngineDriver:
    """Open one dialect by its facts.

    Args:
        name: of the dialect.
        values: hyperparameters by canonical names; the others are its defaults.
        stream: whose weights it begins with.
    """
    opened = prepare(f"{FLOAT64}:{name}", values, stream.names)
    model = replace(model_of(opened), numerics=MAPPING.numerics[opened.dialect.numerics])
    return EngineDriver(opened, model, [weight.copy() for weight in stream.weights])


def norm(one: Arrays, other: Arrays) -> float:
    """Return the norm of a difference, over all elements."""
    return float(np.sqrt(sum(float(np.sum(np.square(a.astype(float) - b))) for a, b in zip(one, other, strict=True))))


def measure(steps: tuple[int, ...] = STEPS) -> dict[str, Any]:
    """Return the movement of each dialect and the distances of all pairs after so many steps, by setting."""
    stream = random_stream(SHAPES, STEPS[-1])
    start = [np.asarray(weight) for weight in stream.weights]
    found: dict[str, Any] = {}
    for setting in settings():
        drivers = {name: driver(name, values, stream) for name, values in setting.values.items()}
        kept: dict[str, list[Arrays]] = {name: [] for name in drivers}
        for step in range(max(steps)):
            gradients = stream.gradients(step)
            for name, one in drivers.items():
                one.step(gradients)
                if step + 1 in steps:
                    kept[name].append(one.parameters())
        found[setting.name] = {
            "moved": {name: [short(norm(arrays, start)) for arrays in each] for name, each in kept.items()},
            "apart": {
                f"{a} {b}": [short(norm(*both)) for both in zip(kept[a], kept[b], strict=True)]
                for a, b in combinations(drivers, 2)
            },
        }
    about = " ".join((__doc__ or "").split("\n\n")[2].split())
    return {"about": about, "steps": list(steps), "settings": found}


def short(value: float) -> float:
    """Return a number with as many digits as the pages can use."""
    return float(f"{value:.4g}")


def main() -> None:
    with replacing(FIGURES) as partial:
        partial.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FIGURES.relative_to(HOME)}")


if __name__ == "__main__":
    main()
