"""Draw docs/drift.png: how far four Adams drift apart on the gradients of one real training.

    python scripts/plots.py

A small network is trained in TensorFlow and recorded; the recorded gradients go through the
originals, once with one set of hyperparameters and once with each one's defaults.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adamcompat import compare, record
from adamcompat.comparison import Comparison
from adamcompat.comparison.plot import COLOURS
from adamcompat.files import replacing
from adamcompat.mapping.tables import MAPPING
from adamcompat.recording import Recording, read

ROOT = Path(__file__).resolve().parents[1]
STEPS = 2000
FIRST, OTHERS = "keras3", ("tf26", "tf1", "mindspore")


def train(path: Path) -> None:
    """Train a network on the sum of its inputs' sines, and record it."""
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((STEPS * 32 // 10, 8)).astype(np.float32)
    y = np.sin(2 * x).sum(axis=1, keepdims=True)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.layers.Input((8,)), dense(64, "relu"), dense(64, "relu"), dense(1)])
    optimizer = keras.optimizers.Adam()
    model.compile(optimizer, "mse")
    with record(optimizer, path):
        model.fit(x, y, batch_size=32, epochs=10, verbose=0)


def compared(recording: Recording, given: dict[str, Any]) -> Comparison:
    """The originals on the recorded gradients; as arrays, so that recorded hyperparameters are no defaults."""
    return compare(
        FIRST,
        *OTHERS,
        hyperparameters=given,
        weights=recording.weights,
        gradients=recording.gradients,
        names=recording.names,
    )


def draw(panels: dict[str, Comparison], path: Path) -> None:
    """One panel for each comparison, all on one scale."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(9, 3.9), layout="constrained")
    for axes, (title, found) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        for number, name in enumerate(OTHERS):
            points = found.pair(FIRST, name).curve
            axes.plot(
                [point.step for point in points],
                [point.absolute for point in points],
                color=COLOURS[number],
                linestyle=("-", "-", (0, (4, 4)))[number],
                linewidth=2,
                label=MAPPING.dialects[name].title,
            )
        axes.set(title=title, xlabel="step", xscale="log", yscale="log", xlim=(1, found.steps))
        axes.title.set_fontsize(11)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    first = figure.axes[0]
    first.set_ylabel(f"largest difference of a weight\nfrom {MAPPING.dialects[FIRST].title}")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=len(OTHERS), frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=160)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "run.safetensors")
        recording = read(Path(folder) / "run.safetensors")
    epsilon = MAPPING.dialects["mindspore"].named("epsilon")
    assert epsilon is not None
    panels = {
        f"one set of hyperparameters (epsilon {epsilon.default})": compared(recording, {"epsilon": epsilon.default}),
        "each one's defaults": compared(recording, {}),
    }
    for title, found in panels.items():
        for pair in found.pairs:
            figures = f"{pair.spacings:.3g} spacings, {pair.absolute:.3g}"
            print(f"{title}: {pair.first} | {pair.second}: {figures}; {'; '.join(pair.sentences)}")
    draw(panels, ROOT / "docs" / "drift.png")


if __name__ == "__main__":
    main()
