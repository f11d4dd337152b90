"""Keep what a step in PYNATIVE mode knows about its Parameters, and name the attributes that it looks at."""

from __future__ import annotations

import ctypes
import itertools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adamcompat import kernel
from adamcompat.mapping.model import Dialect
from adamcompat.mindspore.batch import Batch
from adamcompat.mindspore.memory import Forms, addresses, settle
from adamcompat.mindspore.schedules import Constants, Sources


@dataclass(frozen=True, slots=True)
class Attributes:
    """Name the attributes of an optimizer that its step reads and writes.

    Attributes:
        moments: of the first and of the second moments.
        counters: what advances with each step, and how it lies in memory: the step, then the powers of the betas.
        scales: whether gradients are multiplied by the reciprocal of a loss scale.
    """

    moments: tuple[str, str]
    counters: dict[str, Any]
    scales: bool

    @classmethod
    def of(cls, dialect: Dialect, moments: tuple[str, str]) -> Attributes:
        """Return those of a dialect's original.

        Args:
            dialect: the facts of the original.
            moments: what it calls the first and the second moments.
        """
        powers = ("beta1_power", "beta2_power") if dialect.semantics.power_start != "none" else ()
        counters = {"global_step": ctypes.c_int32} | dict.fromkeys(powers, ctypes.c_float)
        return cls(moments, counters, "unscale" in dialect.stages)

    @property
    def powers(self) -> tuple[str, ...]:
        """Return the counters that are running products of the betas."""
        return tuple(self.counters)[1:]

    @property
    def constants(self) -> tuple[str, ...]:
        """Return those that hold one number each; the reciprocal of the loss scale is last."""
        return ("beta1", "beta2", "eps", *(("reciprocal_scale",) if self.scales else ()))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return those that the numbers of a step come from."""
        scale = ("need_scale",) if self.scales else ()
        return ("learning_rate", "weight_decay", "decay_flags", *scale, *self.constants)

    @property
    def read(self) -> tuple[str, ...]:
        """Return all that may be replaced, because a step asks for it anew."""
        return (*self.counters, *self.numbers, "parameters", "_parameters", *self.moments, "vhat")

    def state(self, optimizer: Any) -> list[Any]:
        """Return what is kept for each Parameter, one sequence a kind: the moments, and a maximum if there is one."""
        kept = [getattr(optimizer, name) for name in self.moments]
        return [*kept, optimizer.vhat] if getattr(optimizer, "use_amsgrad", False) else kept

    def counted(self, optimizer: Any) -> list[Any]:
        """Return the counters."""
        return [getattr(optimizer, name) for name in self.counters]


def same(attribute: Any, other: Any) -> bool:
    """Return whether two values of an attribute are the same objects.

    Tuples are compared item by item, for MindSpore puts equal tuples in the place of tuples.
    """
    if isinstance(attribute, tuple) and isinstance(other, tuple):
        return len(attribute) == len(other) and all(map(operator.is_, attribute, other))
    return attribute is other


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe Parameters with the same learning rate and decay.

    Attributes:
        rate: the place of the learning rate among the step's numbers.
        decay: the place of the decay among them, or None where nothing decays.
    """

    rate: int
    decay: int | None


class Placed(Protocol):
    """Name what some Parameters of one dtype are known by."""

    positions: list[int]
    batch: Batch


class Written(Protocol):
    """Name what is known of everything that a step writes."""

    forms: Forms
    written: tuple[Any, ...]


@dataclass(slots=True)
class Part:
    """Hold Parameters of one dtype.

    Attributes:
        positions: their places among all Parameters.
        kinds: the kinds that there are among them.
        scalars: the scalars of all steps, for their dtype.
        batch: makes their updates.
    """

    positions: list[int]
    kinds: list[Kind]
    scalars: kernel.Scalars
    batch: Batch


@dataclass(slots=True)
class Layout:
    """Hold what stays the same while the same Parameters are updated step after step.

    Attributes:
        origin: the values of all attributes that a step reads and writes.
        forms: shapes and dtypes of the Parameters.
        written: everything that is written: Parameters, state and, last, the counters.
        kinds: the kind of each Parameter.
        centralize: whether the gradient of each Parameter loses its mean.
        simple: whether gradients of the Parameters' dtypes need no preparation.
        sources: of the step's numbers.
        parts: the Parameters by dtype.
        constants: the optimizer's Tensors of one number each.
        values: the numbers in them.
        scaled: the reciprocal of the loss scale, a Tensor, or None where gradients are not scaled.
        stepped: whether a step was made with it.
        outdated: whether attributes were replaced since that are not looked at.
        found: the addresses of everything that is written, as bytes.
        addresses: of the Parameters and their state, one row a Parameter.
        counters: the counters in their memory.
    """

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
    # A step was made with it, so that the original would have compiled its graph.
    stepped: bool = False
    # Attributes have been replaced since that are not looked at.
    outdated: bool = False
    found: bytes = b""
    addresses: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    counters: list[Any] = field(default_factory=list)


def read(parts: Iterable[Placed], gradients: Sequence[Any]) -> list[Any]:
    """Look up where gradients lie; those that lie in memory that is written are copied.

    Args:
        parts: the Parameters, some at a time.
        gradients: one contiguous Tensor for each Parameter, of its dtype.

    Returns:
        The copies, which must live until the update is done.
    """
    copies = []
    for part in parts:
        chosen = gradients if len(part.positions) == len(gradients) else [gradients[i] for i in part.positions]
        found = addresses(chosen)
        if part.batch.reads_from(found):
            continue
        if not found.all():
            found = addresses([gradient.init_data() if gradient.has_init else gradient for gradient in chosen])
        overlapping = part.batch.read_from(found)
        if overlapping.size:
            copied = [chosen[i].copy() for i in overlapping]
            settle()
            found[overlapping] = addresses(copied)
            part.batch.read_from(found)
            copies += copied
    return copies


def check_state(layout: Written, kinds: Sequence[Any]) -> None:
    """Refuse state that does not fit its Parameter: the kernel writes wherever an address says.

    Args:
        layout: knows the forms of the Parameters, and all that is written.
        kinds: how each counter lies in memory; the counters are the last that are written.

    Raises:
        ValueError: a moment has another shape or dtype than its Parameter, or something has no memory.
    """
    parameters, counters = layout.written[: len(layout.forms.shapes)], layout.written[-len(kinds) :]
    for parameter, tensor in zip(itertools.cycle(parameters), layout.written[: -len(kinds)], strict=False):
        if tensor.shape != parameter.shape or tensor.dtype != parameter.dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but {parameter.name!r} has "
                f"{parameter.shape} and {parameter.dtype}; load state of the same network, or make a new optimizer"
            )
    for tensor, dtype in zip(counters, kinds, strict=True):
        if tensor.size != 1 or tensor.asnumpy().dtype != dtype:
            raise ValueError(
                f"{tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}, but one value of dtype "
                f"{np.dtype(dtype)} is needed; load state of such an optimizer, or make a new one"
            )
    for tensor in layout.written:
        if tensor.size and not tensor.data_ptr():
            raise ValueError(f"{tensor.name!r} holds no values yet; call its init_data() before the first step")


def straighten(tensors: Sequence[Any]) -> None:
    """Give Tensors that lie in another order than C's new memory in that order."""
    for tensor in tensors:
        if not tensor.is_contiguous():
            tensor.set_data(tensor.contiguous())
    settle()
