"""The targets of speed: what each benchmark measures, and the figure that its median should be at most.

No target stands anywhere else. A figure is a ratio, our time by another's, unless its target has a unit; then it is an
absolute time, or memory. What is measured without a target has None, and is reported as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

# Figures are kept in seconds and bytes.
UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "MB": 1e6}


class Target(NamedTuple):
    """What a median should be at most, None where it is only reported, and its unit, empty for a ratio."""

    limit: float | None
    unit: str = ""

    def shown(self, figure: float) -> str:
        """A figure, kept in seconds, bytes or as a ratio, in the target's unit; four characters or so."""
        value = figure / UNITS[self.unit]
        if not self.unit:
            return f"{value:.3f}"
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    @property
    def text(self) -> str:
        """The target with its unit."""
        if self.limit is None:
            return self.unit
        # Two decimals or more.
        return f"{self.limit:g} {self.unit}" if self.unit else max(f"{self.limit:.2f}", f"{self.limit:g}", key=len)

    def met(self, figure: float) -> bool:
        return self.limit is None or figure / UNITS[self.unit] <= self.limit


class Key(NamedTuple):
    """What is measured: a runtime, a piece of work, and the way it is run."""

    runtime: str
    work: str
    mode: str

    def __str__(self) -> str:
        return f"{self.runtime}: {self.work}, {self.mode}"


class MismatchError(LookupError):
    """The table and what is measured do not agree."""


Entry = float | Target | None
Entries = Mapping[str, Entry]


def _each(works: Iterable[str], *limits: Entry) -> dict[str, Entry]:
    """The entries of one way of running several pieces of work; one limit is that of all of them."""
    works = list(works)
    return dict(zip(works, limits * len(works) if len(limits) == 1 else limits, strict=True))


_KERAS = ("ResNet-50, 161 tensors", "one tensor of 10M", "200 tensors of 64")
_KERAS_ADAMW = tuple(f"{work}, AdamW" for work in _KERAS)
_FIRST_STEPS = (*_KERAS, "12 Dense layers of 512")
_MINDSPORE = ("161 tensors of 10", "ResNet-50's list", "one of 10M")
_MINDSPORE_TF = tuple(f"{work}, TFStyleAdam" for work in _MINDSPORE)
_MINDSPORE_OTHER = (
    *(f"{work}, AdamWeightDecay" for work in _MINDSPORE),
    "whole step of a small CNN",
    "whole step of a small CNN, AdamWeightDecay",
)
_TORCH = ("one of 10M", "200 tensors of 64", "ResNet-50's list")
_TORCH_TF = tuple(f"{work}, TFStyleAdam" for work in _TORCH)
_STATE = ("same layout", "Keras's layout to MindSpore's")

# Runtime, the way it is run, the work.
_TABLE: Mapping[str, Mapping[str, Entries]] = {
    "numpy": {
        "with Numba": {
            "10M, 1 thread / copying 28 B an element": 0.75,
            "10M, 1 thread / torch.optim.Adam(fused=True)": 1.05,
            "10M, all threads / copying 28 B an element": 0.75,
            "10M, all threads / torch.optim.Adam(fused=True)": 1.05,
            "10M / textbook NumPy": 0.12,
            "200 x 64, TF style / textbook NumPy": 0.05,
            "200 x 64, MindSpore style / textbook NumPy": 0.05,
            "fixed cost of a step, one tensor of 1": Target(20, "us"),
            **_each((f"an element of a step of 1e{exponent}" for exponent in range(3, 9)), Target(None, "ns")),
        },
        "without Numba": {
            "10M / textbook NumPy": 0.6,
            "200 x 64, TF style / textbook NumPy": 1.0,
        },
    },
    "tensorflow": {
        "eager": _each(_KERAS, 0.08, 0.30, 0.04) | _each(_KERAS_ADAMW, None),
        "tf.function": _each(_KERAS, 0.36, 0.30, 0.80) | _each(_KERAS_ADAMW, None),
        "jit_compile": _each(_KERAS, 1.05) | _each(_KERAS_ADAMW, None),
        "eager, fused=True": _each(_KERAS, 0.10, 0.25, 0.025),
        "tf.function, fused=True": _each(_KERAS, 0.42, 0.38, 0.65),
        "jit_compile, fused=True": _each(_KERAS, 1.05),
        # The sum of the first k steps by Keras's, for the k up to 40 that is the worst.
        "eager, first 40 steps": _each(_FIRST_STEPS, 1.1),
        "tf.function, first step": _each(_FIRST_STEPS, 1.1),
        "fit": _each(("MobileNetV2, first epoch", "MobileNetV2, later epochs"), None),
    },
    "mindspore": {
        "PYNATIVE": _each(_MINDSPORE, 0.13, 0.70, 1.0) | _each((*_MINDSPORE_TF, *_MINDSPORE_OTHER), None),
        "GRAPH": _each(_MINDSPORE, 0.80, 0.88, 1.0) | _each(_MINDSPORE_TF, 1.1) | _each(_MINDSPORE_OTHER, None),
    },
    "torch": {
        "default": _each(_TORCH, 0.12, 0.10, None) | _each(_TORCH_TF, 0.12, 0.10, None),
        "fused=True": _each(_TORCH, 1.05, 0.5, 1.0) | _each(_TORCH_TF, 1.05, 0.5, 1.0),
    },
    "migrate": {"1,000 files": _each(("--to shim", "--to mindspore"), Target(10, "s"))},
    "state": {
        "time / copying the file": _each(_STATE, 2.0),
        "peak memory beyond 1.5 largest tensors": _each(_STATE, Target(500, "MB")),
    },
    "startup": {
        "fresh process": {
            "from adamcompat import TFStyleAdam, after numpy": Target(35, "ms"),
            "import adamcompat, after numpy": Target(None, "ms"),
            "adamcompat translate": Target(0.25, "s"),
            "adamcompat table": Target(0.2, "s"),
            "first NumPy step, compiled code on disk": Target(0.3, "s"),
            "first NumPy step, nothing compiled": Target(None, "s"),
        },
    },
}

RUNTIMES = tuple(_TABLE)
TARGETS: dict[Key, Target] = {
    Key(runtime, work, mode): entry if isinstance(entry, Target) else Target(entry)
    for runtime, modes in _TABLE.items()
    for mode, works in modes.items()
    for work, entry in works.items()
}


def keys(runtime: str) -> list[Key]:
    """What is measured of a runtime, in the table's order."""
    return [key for key in TARGETS if key.runtime == runtime]


def target(key: Key) -> Target:
    """The target of what is measured; what the table does not have is an error."""
    if key in TARGETS:
        return TARGETS[key]
    near = get_close_matches(str(key), map(str, TARGETS), n=1)
    raise MismatchError(f"scripts/targets.py has no {key}{f'; it has {near[0]}' if near else ''}")


def known(measured: Iterable[Key]) -> None:
    """Raise an error unless all that is measured stands in the table."""
    for key in measured:
        target(key)


def check(runtime: str, measured: Iterable[Key]) -> None:
    """Raise an error unless what is measured stands in the table, once, and every target of the runtime is measured."""
    found = Counter(measured)
    known(found)
    if again := [key for key, times in found.items() if times > 1]:
        raise MismatchError(f"measured more than once: {'; '.join(map(str, again))}")
    if missing := [key for key in keys(runtime) if TARGETS[key].limit is not None and key not in found]:
        raise MismatchError(f"no measurement for the target of {'; '.join(map(str, missing))}")
