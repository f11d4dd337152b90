"""Keep what a step in PYNATIVE mode knows about its Parameters, and name the attributes that it looks at."""

from __future__ import annotations

import ctypes
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat import kernel
from adamcompat.mindspore.batch import Batch
from adamcompat.mindspore.memory import Forms, settle
from adamcompat.mindspore.schedules import Constants, Sources

# What advances with each step, and how it lies in memory.
COUNTERS = {"global_step": ctypes.c_int32, "beta1_power": ctypes.c_float, "beta2_power": ctypes.c_float}
# Attributes of an optimizer that the numbers of a step come from.
CONSTANTS = ("beta1", "beta2", "eps", "reciprocal_scale")
NUMBERS = ("learning_rate", "weight_decay", "decay_flags", "need_scale", *CONSTANTS)
# What else is read here, when everything is laid out.
READ = (
    *COUNTERS,
    *NUMBERS,
    *("parameters", "_parameters", "moment1", "moment2", "vhat", "use_amsgrad", "use_nesterov", "use_offload"),
    *("is_group", "is_group_lr", "exec_weight_decay", "grad_centralization_flags"),
)


def same(attribute: Any, other: Any) -> bool:
    """Return whether two values of an attribute are the same; MindSpore puts equal tuples in the place of tuples."""
    if isinstance(attribute, tuple) and isinstance(other, tuple):
        return len(attribute) == len(other) and all(map(operator.is_, attribute, other))
    return attribute is other


@dataclass(frozen=True, slots=True)
class Kind:
    """Parameters with the same learning rate and decay: places in the step's numbers."""

    rate: int
    decay: int | None


@dataclass(slots=True)
class Part:
    """Parameters of one dtype."""

    positions: list[int]
    kinds: list[Kind]
    scalars: kernel.Scalars
    batch: Batch


@dataclass(slots=True)
class Layout:
    """Hold what stays the same while the same Parameters are updated step after step."""

    origin: tuple[Any, ...]
    forms: Forms
    written: tuple[Any, ...]
    kinds: list[Kind]
    centralize: list[bool]
    simple: bool
    sources: Sources
    parts: list[Part]
    constants: Constants
    values: list[float]
    scaled: Any
    # A step was made with it, so that nn.Adam would have compiled its graph.
    stepped: bool = False
    # Attributes have been replaced since that are not looked at.
    outdated: bool = False
    found: bytes = b""
    addresses: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    counters: list[Any] = field(default_factory=list)


def check_state(layout: Layout) -> None:
    """Refuse state that does not fit its Parameter: the kernel writes wherever an address says.

    Raises:
        ValueError: a moment has another shape or dtype than its Parameter, or something has no memory.
    """
    parameters, counters = layout.written[: len(layout.forms.shapes)], layout.written[-len(COUNTERS) :]
    for parameter, tensor in zip(itertools.cycle(parameters), layout.written[: -len(COUNTERS)], strict=False):
        if tensor.shape != parameter.shape or tensor.dtype != parameter.dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but {parameter.name!r} has "
                f"{parameter.shape} and {parameter.dtype}; load state of the same network, or make a new optimizer"
            )
    for tensor, dtype in zip(counters, COUNTERS.values(), strict=True):
        if tensor.size != 1 or tensor.asnumpy().dtype != dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but one value of dtype "
                f"{np.dtype(dtype)} is needed; load state of an Adam, or make a new optimizer"
            )
    for tensor in layout.written:
        if tensor.size and not tensor.data_ptr():
            raise ValueError(f"{tensor.name!r} holds no values yet; call its init_data() before the first step")


def straighten(tensors: Sequence[Any]) -> None:
    """Give those with another layout than C's that layout."""
    for tensor in tensors:
        if not tensor.is_contiguous():
            tensor.set_data(tensor.contiguous())
    settle()
