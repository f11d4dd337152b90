"""Compile a step: from a dialect's facts and an optimizer's hyperparameters to plain data that runtimes run.

A `Program` says which stages a step has, in which order, with which numbers; what the update is; and what comes after
it. Nothing in it belongs to a dialect or to a framework.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from adamcompat.hyperparameters import Hyperparameters
from adamcompat.mapping.model import Dialect, Form, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule

# Stages of one formula each, in the order in which `stages.make_stages` builds them.
MULTIPLY, DIVIDE, ADD_DECAY, CLIP_VALUE, SUBTRACT, DECOUPLED_DECAY, ADD_DECAY_ONCE, SCALE_PARAMETER = range(8)
# Stages that first ask for a mean or a norm.
CENTRALIZE, CLIP_NORM, GLOBAL_CLIP_NORM = range(8, 11)
NAMES = (
    *("multiply", "divide", "l2_decay", "clip_value", "subtract", "decoupled_decay"),
    *("l2_decay, rounded once", "decoupled_decay by a factor"),
    *("centralize", "clip_norm", "global_clip_norm"),
)
# Stages that leave out the tensors that do not decay.
OF_DECAYING = (ADD_DECAY, DECOUPLED_DECAY, ADD_DECAY_ONCE, SCALE_PARAMETER)
# Stages of the parameter; the others are of the gradient.
OF_PARAMETER = (DECOUPLED_DECAY, SCALE_PARAMETER)

# Numbers that change from step to step, each with its value in float64.
RATE, NARROW_RATE, RECIPROCAL_SCALE = "rate", "narrow_rate", "reciprocal_scale"
DECAY, NARROW_DECAY, DECAYED_RATE = "decay", "narrow_decay", "decayed_rate"


class Scalar(NamedTuple):
    """Hold one number of an instruction.

    Attributes:
        factor: the part that is the same in every step.
        times: the name of the step's number that the factor is multiplied by, such as `RATE`; or None.
    """

    factor: Any
    times: str | None = None


ONE = Scalar(1.0)


class Instruction(NamedTuple):
    """Hold one stage of a step.

    Attributes:
        code: the stage, one of the constants of this module, such as `CLIP_VALUE`.
        a: its first number.
        b: its second number, where it needs one.
    """

    code: int
    a: Scalar = ONE
    b: Scalar = ONE


@dataclass(frozen=True, slots=True)
class Bound:
    """Hold an instruction with its numbers of one step, as executors take it.

    Attributes:
        code: the stage, as in `Instruction`.
        a: its first number, in float64; executors round it to the arithmetic dtype. For SUBTRACT it holds one value for
            each index of the first axis; in a batch it may hold one for each tensor.
        b: its second number, in float64, where the stage needs one.
    """

    code: int
    a: Any
    b: Any = 1.0

    @property
    def scalar(self) -> bool:
        """Return whether the stage needs nothing but scalars."""
        return self.code != SUBTRACT


# What an executor does to a gradient before the update, in order.
Stages: TypeAlias = Sequence[Bound]


@dataclass(frozen=True, slots=True)
class Update:
    """Describe the update of the moments and of the parameter.

    Attributes:
        form: which epsilon is meant, and whether the moments are corrected.
        beta1: decay rate of the first moment: a number in [0, 1), or a schedule.
        beta2: decay rate of the second moment: a number in [0, 1), or a schedule.
        epsilon: as it was given.
        amsgrad: whether the maximum of the second moments divides.
        nesterov: whether the numerator looks ahead.
        lazy: whether a gradient of some rows updates these only.
        decays: whether decoupled weight decay is added to the update.
        decay: the decay that is added; None where it is a number of the step.
    """

    form: Form
    beta1: Any
    beta2: Any
    epsilon: float
    amsgrad: bool
    nesterov: bool
    lazy: bool
    decays: bool
    decay: float | None


@dataclass(frozen=True, slots=True)
class Average:
    """Describe the moving average of the parameters.

    Attributes:
        momentum: weight of the old average, in [0, 1].
        overwrite: after how many updates the parameters are overwritten by the average, or None for never.
        starts_with_first_update: whether it starts as the parameter after the first update, not as the initial one.
    """

    momentum: float
    overwrite: int | None
    starts_with_first_update: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """Describe how the learning rate changes from step to step.

    Attributes:
        start: the number that a schedule is given at the first step.
        time_decay: the learning rate is divided by one plus this times the number of the step.
    """

    start: int
    time_decay: float


@dataclass(frozen=True, slots=True)
class Program:
    """Hold one optimizer's step.

    Attributes:
        each_call: the stages of each call, where gradients are accumulated; else empty.
        every: after how many calls an update is made, or None where each call makes one.
        stages: the stages of each update.
        update: the update itself.
        average: the moving average after the update, or None.
        rate: how the learning rate changes from step to step.
        stepwise: whether the numbers of stages are rounded one by one, as TensorFlow does it, and not once.
    """

    each_call: tuple[Instruction, ...]
    every: int | None
    stages: tuple[Instruction, ...]
    update: Update
    average: Average | None
    rate: Rate
    stepwise: bool

    @property
    def reduces(self) -> bool:
        """Return whether a stage needs a norm."""
        return any(code in (CLIP_NORM, GLOBAL_CLIP_NORM) for code, _, _ in (*self.each_call, *self.stages))


class _Read:
    """Hold hyperparameters, with a note of which of them were read."""

    def __init__(self, hyper: Hyperparameters, held: Collection[str]) -> None:
        self._values = hyper.values
        self.held = held
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return self._values[name]

    def unread(self) -> list[str]:
        """Return the names of hyperparameters that are set, but were not read."""
        return [
            name
            for name, value in self._values.items()
            if name not in self.names
            and MAPPING.canonical[name].scope == "hyperparameter"
            and value not in (None, MAPPING.canonical[name].neutral)
        ]


def _maximize(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    if hyper["maximize"]:
        yield Instruction(MULTIPLY, Scalar(-1.0))


def _unscale(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    scale = hyper["loss_scale"]
    if "loss_scale" in hyper.held:
        yield Instruction(MULTIPLY, Scalar(1.0, RECIPROCAL_SCALE))
    elif scale != 1:
        reciprocal = numerics.unscale == "reciprocal"
        yield Instruction(MULTIPLY, Scalar(1 / scale)) if reciprocal else Instruction(DIVIDE, Scalar(scale))


def _decays(value: Any) -> bool:
    """Return whether a weight decay is more than 0, or may become it."""
    return bool(value) and not (isinstance(value, Schedule) and value.constant and not value.at(0))


def _l2_decay(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    # A decay of 0 is left out when a step is made, for it may be a schedule or belong to a group.
    scale, order, own = hyper["loss_scale"], dialect.stages, hyper["l2_weight_decay"]
    if "decoupled_decay" in order and _decays(hyper["decoupled_weight_decay"]):
        if _decays(own):
            raise NotImplementedError("a step has one weight decay: L2, or decoupled from the gradient")
        return
    # Decay does not depend on the loss scale, whichever comes first.
    before = "unscale" in order and order.index("l2_decay") < order.index("unscale")
    code = ADD_DECAY_ONCE if numerics.multiply_add == "fused" else ADD_DECAY
    yield Instruction(code, Scalar(scale if before and "loss_scale" not in hyper.held else 1.0, DECAY))


def _centralize(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    yield Instruction(CENTRALIZE)


def _clip_norm(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    if (limit := hyper["clip_norm"]) is not None:
        yield Instruction(CLIP_NORM, Scalar(limit))


def _global_clip_norm(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    if (limit := hyper["global_clip_norm"]) is not None:
        yield Instruction(GLOBAL_CLIP_NORM, Scalar(limit))


def _clip_value(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    if (limit := hyper["clip_value"]) is not None:
        yield Instruction(CLIP_VALUE, Scalar(limit))


def _changes(hyper: _Read, dialect: Dialect) -> bool:
    """Return whether decoupled weight decay is a number of the step: a schedule, or the decay of a group."""
    if "decoupled_decay" not in dialect.stages:
        return False
    grouped = any(fact.canonical == "group_weight_decay" for fact in dialect.groups)
    return (grouped and "l2_decay" not in dialect.stages) or isinstance(hyper["decoupled_weight_decay"], Schedule)


def _added(hyper: _Read, dialect: Dialect) -> float:
    """Return the decay that is added to the update; 0 where the dialect decays in another way, or not at all."""
    decay = hyper["decoupled_weight_decay"] if "decoupled_decay" in dialect.stages else None
    return float(decay or 0.0)


def _decoupled_decay(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    decay, once = hyper["decoupled_weight_decay"], numerics.surroundings == "once"
    if numerics.decay == "update":
        return
    if numerics.decay == "factor":
        # The parameter is multiplied by one minus this.
        if _changes(hyper, dialect):
            yield Instruction(SCALE_PARAMETER, Scalar(1.0, DECAYED_RATE))
        elif decay:
            yield Instruction(SCALE_PARAMETER, Scalar(decay, RATE))
        return
    if _changes(hyper, dialect):
        if once:
            yield Instruction(DECOUPLED_DECAY, Scalar(1.0, DECAYED_RATE))
        else:
            yield Instruction(DECOUPLED_DECAY, Scalar(1.0, NARROW_DECAY), Scalar(1.0, NARROW_RATE))
    elif decay and once:
        yield Instruction(DECOUPLED_DECAY, Scalar(decay, RATE))
    elif decay:
        yield Instruction(DECOUPLED_DECAY, Scalar(float(np.float32(decay))), Scalar(1.0, NARROW_RATE))


def _absolute_decay(hyper: _Read, dialect: Dialect, numerics: Numerics) -> Iterator[Instruction]:
    if decay := hyper["absolute_weight_decay"]:
        yield Instruction(
            DECOUPLED_DECAY, Scalar(decay if numerics.surroundings == "once" else float(np.float32(decay)))
        )


# The stages of a gradient; the others have places of their own in a program.
_COMPILED: dict[str, Callable[[_Read, Dialect, Numerics], Iterator[Instruction]]] = {
    "maximize": _maximize,
    "unscale": _unscale,
    "l2_decay": _l2_decay,
    "centralize": _centralize,
    "clip_norm": _clip_norm,
    "global_clip_norm": _global_clip_norm,
    "clip_value": _clip_value,
    "absolute_decay": _absolute_decay,
    "decoupled_decay": _decoupled_decay,
}
_IN_PLACES = ("deduplicate", "accumulate", "update", "average")
# What the caller of a step reads itself, in every runtime.
_CALLERS = ("learning_rate", "use_locking", "offload")


def compile_step(
    dialect: Dialect, numerics: Numerics, hyper: Hyperparameters, *, held: Collection[str] = ()
) -> Program:
    """Compile the step of one optimizer.

    Args:
        dialect: the dialect that gives the order of the stages and the form of the update.
        numerics: how to round.
        hyper: the hyperparameters.
        held: canonical names of hyperparameters that the runtime holds itself: they are numbers of the step.

    Returns:
        The program, which names no dialect and no framework.

    Raises:
        NotImplementedError: nothing executes a stage, or a hyperparameter that is set; or both kinds of weight decay
            are set.

    >>> from adamcompat.hyperparameters import resolve
    >>> hyper = resolve(MAPPING.adapter("numpy", "TFStyleAdam"), {"clipvalue": 0.5}, {})
    >>> program = compile_step(MAPPING.dialects["keras3"], MAPPING.numerics["keras3"], hyper)
    >>> program.stages == (Instruction(CLIP_VALUE, Scalar(0.5)),), program.update.amsgrad
    (True, False)
    """
    read = _Read(hyper, held)
    every = read["accumulation_steps"] if "accumulate" in dialect.stages else None
    calls: list[Instruction] = []
    found: list[Instruction] = []
    for stage in dialect.stages:
        if stage == "accumulate" and every is not None:
            calls, found = found, []
        if stage in _IN_PLACES:
            continue
        if stage not in _COMPILED:
            raise NotImplementedError(
                f"no instruction for the stage {stage!r}: write it in adamcompat/program.py and adamcompat/stages.py"
            )
        found += _COMPILED[stage](read, dialect, numerics)
    # These numerics have a form of the update of their own, with a decay or without.
    adds = numerics.decay == "update"
    update = Update(
        dialect.semantics.form,
        read["beta1"],
        read["beta2"],
        read["epsilon"],
        # A class may borrow these from other dialects: its own has no form of them then.
        bool(read["amsgrad"]),
        bool(read["nesterov"]),
        read["lazy"],
        adds,
        (None if _changes(read, dialect) else _added(read, dialect)) if adds else 0.0,
    )
    momentum, overwrite = read["ema_momentum"], read["ema_overwrite_frequency"]
    average = None
    if "average" in dialect.stages and read["use_ema"]:
        average = Average(momentum, overwrite, dialect.semantics.average_start == "first_update")
    program = Program(
        tuple(calls),
        every,
        tuple(found),
        update,
        average,
        Rate(dialect.semantics.schedule_start, read["inverse_time_decay"] or 0.0),
        numerics.surroundings == "stepwise",
    )
    if unread := [name for name in read.unread() if name not in _CALLERS]:
        raise NotImplementedError(
            f"nothing executes {', '.join(unread)}: {dialect.title} has neither a stage nor a form of the update that "
            f"reads it; its stages are {', '.join(dialect.stages)}"
        )
    return program
