"""Provide weights and gradients: drawn at random, given as arrays, or recorded from training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adamcompat.comparison.asked import check_shapes
from adamcompat.kinds import whole
from adamcompat.numpy.arrays import real_array
from adamcompat.recording.file import Recording, read
from adamcompat.state.model import AdamState

Array = NDArray[Any]

# Gradients of real networks differ by many orders of magnitude from element to element; with all of
# one size, a difference of epsilon would not show.
SMALLEST, LARGEST = 1e-8, 1.0

# What no machine gets done in a day, or keeps in its memory.
MOST_STEPS = 10_000_000
MOST_ELEMENTS = 10**9


@dataclass(frozen=True, slots=True)
class Stream:
    """Hold weights, and the gradients of each step.

    Attributes:
        about: one line that says where it comes from.
        names: of the parameters.
        weights: the initial parameters, one array a parameter.
        steps: number of steps.
        recording: what it was recorded from, or None.
        state: what the optimizer kept before the first step, where that was not its first.
    """

    about: str
    names: tuple[str, ...]
    weights: tuple[Array, ...]
    steps: int
    recording: Recording | None = None
    state: AdamState | None = None
    _given: tuple[Array, ...] = ()
    _seed: int = 0
    _scales: tuple[Array, ...] = field(default=(), repr=False)

    def gradients(self, step: int) -> list[Array]:
        """Return the gradients of one step, one array a parameter.

        Args:
            step: counted from 0.
        """
        if self._given:
            return [array[step] for array in self._given]
        rng = np.random.default_rng([self._seed, step])
        # Two thirds drift and one third noise, so that parameters travel and moments do not settle.
        return [
            np.asarray(scale * (2 / 3 + rng.standard_normal(scale.shape) / 3), weight.dtype)
            for scale, weight in zip(self._scales, self.weights, strict=True)
        ]


def random_stream(shapes: Sequence[tuple[int, ...]], steps: int, seed: int = 0, dtype: Any = np.float32) -> Stream:
    r"""Draw weights from the normal distribution, and gradients with one size an element, from 1e-8 to 1.

    The gradient of an element is :math:`s (2/3 + n/3)`. Its size :math:`s` is drawn once, from 1e-8 to 1 with all
    orders of magnitude alike and either sign; :math:`n` is normal and is drawn in each step.

    Args:
        shapes: of the parameters.
        steps: number of steps, from 1 to 10,000,000.
        seed: of NumPy's generator, at least 0.
        dtype: float16, float32 or float64.

    Returns:
        The stream. The gradients of a step are the same whenever they are asked for.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: there is no parameter, or a number is too small or too large.

    >>> stream = random_stream([(2, 3)], steps=10)
    >>> stream.gradients(0)[0].shape, bool((stream.gradients(0)[0] == stream.gradients(0)[0]).all())
    ((2, 3), True)
    """
    steps, seed, shapes = whole(steps, "steps"), whole(seed, "seed"), check_shapes(shapes)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be at most {MOST_STEPS:,}, got {_short(steps)}")
    if seed < 0:
        raise ValueError(f"the seed must be at least 0, got {_short(seed)}")
    if not shapes:
        raise ValueError("no shapes: give at least one parameter")
    elements = sum(math.prod(shape) for shape in shapes)
    if elements > MOST_ELEMENTS:
        raise ValueError(f"the shapes have {_short(elements)} elements; {MOST_ELEMENTS:,} are the most")
    rng = np.random.default_rng(seed)
    weights = tuple(np.asarray(rng.standard_normal(shape), dtype) for shape in shapes)
    low, high = np.log10(SMALLEST), np.log10(LARGEST)
    scales = tuple(10 ** rng.uniform(low, high, shape) * rng.choice([-1, 1], shape) for shape in shapes)
    names = tuple(f"parameter_{i}" for i in range(len(shapes)))
    text = ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
    about = f"{steps} steps of random gradients, seed {seed}, shapes {text}"
    return Stream(about, names, weights, steps, _seed=seed, _scales=scales)


def _short(number: int) -> str:
    """Return a whole number as text for people; of one that is far too large the size."""
    return f"{number:,}" if abs(number) < 10**15 else f"about {number:.0e}" if abs(number) < 10**300 else "far more"


def given_stream(weights: Sequence[ArrayLike], gradients: Sequence[ArrayLike], names: Sequence[str] | None) -> Stream:
    """Return a stream from arrays.

    Args:
        weights: the initial parameters, of real numbers.
        gradients: for each parameter an array whose first axis is the step; the other axes are those of the parameter.
        names: of the parameters; None for ``parameter_0``, ``parameter_1`` and so on.

    Returns:
        The stream, with as many steps as the gradients have.

    Raises:
        ValueError: numbers or shapes do not fit.
        TypeError: a weight or a gradient does not hold real numbers of at most 64 bits.
    """
    start = tuple(real_array(weight, "a weight") for weight in weights)
    given = tuple(real_array(gradient, "a gradient") for gradient in gradients)
    labels = tuple(names) if names is not None else tuple(f"parameter_{i}" for i in range(len(start)))
    if not start or len(start) != len(given) or len(labels) != len(start):
        raise ValueError(f"got {len(start)} weights, {len(given)} gradients and {len(labels)} names; give one of each")
    steps = {len(gradient) if gradient.ndim else 0 for gradient in given}
    if len(steps) != 1 or not min(steps):
        raise ValueError(f"gradients have the steps on their first axis, all the same number; got {sorted(steps)}")
    for label, weight, gradient in zip(labels, start, given, strict=True):
        if gradient.shape[1:] != weight.shape:
            raise ValueError(
                f"the gradients of {label} have shape {gradient.shape}; expected the steps, and then {weight.shape}"
            )
    count = steps.pop()
    return Stream(f"{count} steps of given gradients", labels, start, count, _given=given)


def load_stream(path: str | Path, steps: int | None = None) -> Stream:
    """Return a stream that `adamcompat.record` wrote.

    Args:
        path: of the file.
        steps: how many of its steps to replay, from the first on; None means all.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no recording, has no steps, fewer than asked for, or begins in the middle of a training
            without the moments of that step.
    """
    if steps is not None:
        steps = whole(steps, "steps")
    recording = read(path)
    if recording.start and recording.state is None:
        raise ValueError(
            f"{path} was recorded from step {recording.start + 1} on; a replay needs the moments of that step, which "
            f"it does not hold: an older adamcompat wrote it, or the optimizer was no Adam; record again, or from the "
            f"first step"
        )
    if steps is not None and steps > recording.steps:
        raise ValueError(f"{path} holds {recording.steps} steps, fewer than the {steps} asked for")
    count = recording.steps if steps is None else steps
    if count < 1:
        raise ValueError(f"{path} holds no steps")
    after = f" after its first {recording.start}" if recording.start else ""
    about = f"{count} steps recorded from {recording.optimizer}{after} in {Path(path).name}"
    return Stream(about, recording.names, recording.weights, count, recording, recording.state, recording.gradients)
