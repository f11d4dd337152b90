"""Draw the plots of the README and the pages.

    python scripts/plots.py drift     docs/figures/drift.svg: how far four Adams drift apart on one training's gradients
    python scripts/plots.py speed     docs/figures/speed.svg: our time by the originals', as the benchmarks kept it;
                                  and the tables of docs/speed.md

drift: a small network is trained in TensorFlow and recorded; the recorded gradients go through the
originals, once with one set of hyperparameters and once with each one's defaults.

speed: reads what `scripts/bench targets --json docs/figures` kept, or `scripts/bench RUNTIME` for one runtime.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import figures
import numpy as np
import speed_page

from adamcompat import compare, record
from adamcompat.comparison import Comparison
from adamcompat.comparison.plot import COLOURS, grid
from adamcompat.mapping.tables import MAPPING
from adamcompat.recording import Recording, read

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


def draw(panels: dict[str, Comparison]) -> Any:
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
        axes.grid(**grid())
        axes.spines[["top", "right"]].set_visible(False)
    first = figure.axes[0]
    first.set_ylabel(f"largest difference of a weight\nfrom {MAPPING.dialects[FIRST].title}")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=len(OTHERS), frameon=False)
    return figure


class Panel(NamedTuple):
    """A runtime in the plot of speed: what it is compared with, and which ways of running it are shown."""

    title: str
    modes: tuple[str, ...]
    leaves_out: str | None = None


PANELS = {
    "tensorflow": Panel("TensorFlow, relative to keras.optimizers.Adam", ("eager", "tf.function", "jit_compile")),
    "mindspore": Panel("MindSpore, relative to nn.Adam", ("PYNATIVE", "GRAPH")),
    # A copy is no optimizer.
    "numpy": Panel("NumPy arrays, relative to what is named", ("with Numba", "without Numba"), leaves_out="copying"),
}
LOOKS = ((figures.BLUE, "o"), (figures.ORANGE, "s"), (figures.GREEN, "^"))


def draw_speed() -> Any:
    """Medians and quartiles of paired ratios, one panel above the other."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    rows = {
        name: [
            row
            for row in figures.kept(figures.FOLDER, name).values()
            # An absolute time is relative to nothing.
            if row.key.mode in panel.modes
            and not row.target.unit
            and not (panel.leaves_out and panel.leaves_out in row.key.work)
        ]
        for name, panel in PANELS.items()
    }
    works = {name: list(dict.fromkeys(row.key.work for row in found)) for name, found in rows.items()}
    figure = Figure(figsize=(9, 1.5 + 0.42 * sum(map(len, works.values()))), layout="constrained")
    heights = [len(found) for found in works.values()]
    for axes, (name, panel) in zip(
        figure.subplots(len(PANELS), 1, sharex=True, height_ratios=heights), PANELS.items(), strict=True
    ):
        for number, mode in enumerate(panel.modes):
            colour, marker = LOOKS[number]
            shown = [row for row in rows[name] if row.key.mode == mode]
            low, middle, high = zip(*(row.quartiles for row in shown), strict=True)
            axes.errorbar(
                middle,
                [works[name].index(row.key.work) + 0.2 * (number - (len(panel.modes) - 1) / 2) for row in shown],
                xerr=[np.subtract(middle, low), np.subtract(high, middle)],
                fmt=marker,
                color=colour,
                markersize=5,
                capsize=3,
                label=mode,
            )
        axes.axvline(1, color=rcParams["text.color"], linewidth=1.2, linestyle="--")
        axes.set(xscale="log", ylim=(len(works[name]) - 0.5, -0.5))
        axes.set_title(panel.title, fontsize=11, loc="left")
        axes.set_yticks(range(len(works[name])), works[name])
        axes.grid(axis="x", **grid())
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set_xlabel("relative time of a step: dashed is equal, left of it adamcompat is faster")
    axes.xaxis.set_major_locator(FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure


def publish_speed() -> None:
    """Draw the plot and write the page's tables, both from the kept figures."""
    figures.save_plot(figures.FOLDER / "speed.svg", draw_speed)
    speed_page.write()


def draw_drift() -> None:
    """Train, replay and draw."""
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
            apart = f"{pair.spacings:.3g} spacings, {pair.absolute:.3g}"
            print(f"{title}: {pair.first} | {pair.second}: {apart}; {'; '.join(pair.sentences)}")
    figures.save_plot(figures.FOLDER / "drift.svg", partial(draw, panels))


def main() -> None:
    plots: dict[str, Callable[[], None]] = {
        "drift": draw_drift,
        "speed": publish_speed,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plot", choices=plots)
    plots[parser.parse_args().plot]()


if __name__ == "__main__":
    main()
